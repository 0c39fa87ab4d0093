"""Real wheels for installers: so many projects that depend on each other, in sizes as they come."""

import base64
import hashlib
import random
import zipfile
from pathlib import Path

from bench.index.upstream import OLDER

COUNT = 41
_SMALLEST, _LARGEST = 20_000, 5_000_000  # bytes, about
_BRANCHES = 3  # dependencies of a project that nobody else has
_ACROSS = 7  # and one that others have too
_OLDER = 60  # versions on its page that nobody wants
_MODULE = 8_000  # bytes of one, about


def make_set(packages: Path, name: str) -> str:
    """The wheels of one set, in a folder each; returns the project that needs all others."""
    rng = random.Random(name)  # noqa: S311 -- no secret
    for number in range(COUNT):
        project = project_of(name, number)
        folder = packages / project
        folder.mkdir(parents=True)
        needs = [project_of(name, other) for other in needs_of(number)]
        _make(
            folder / f"{project.replace('-', '_')}-1.0-py3-none-any.whl", project, needs, size_of(number), rng
        )
        (folder / OLDER).write_text(str(_OLDER))
    return project_of(name, 0)


def project_of(name: str, number: int) -> str:
    return f"{name}-part{number}" if number else f"{name}-app"


def needs_of(number: int, count: int = COUNT) -> list[int]:
    """A tree whose root needs everything, and links across it; nothing needs what needs it."""
    first = number * _BRANCHES + 1
    return [other for other in (*range(first, first + _BRANCHES), first + _ACROSS) if other < count]


def size_of(number: int, count: int = COUNT) -> int:
    """About half are below 100 kB, and few are large; the large ones are not the last to be found."""
    rank = (number * 17) % count / (count - 1)
    return int(_SMALLEST * (_LARGEST / _SMALLEST) ** float(rank * rank))


def _make(wheel: Path, project: str, needs: list[str], size: int, rng: random.Random) -> None:
    """Modules that pack well, and as many bytes that do not (as compiled ones) as are missing."""
    package, record = project.replace("-", "_"), []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, data: bytes) -> None:
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")

        for number in range(max(3, min(60, size // 20_000))):
            lines = (f"value_{line} = {rng.getrandbits(24)}" for line in range(_MODULE // 20))
            add(
                f"{package}/module{number}.py" if number else f"{package}/__init__.py",
                "\n".join(lines).encode(),
            )
        packed = sum(info.compress_size for info in archive.infolist())
        add(f"{package}/data.bin", rng.randbytes(max(0, size - packed)))
        info = f"{package}-1.0.dist-info"
        said = ["Metadata-Version: 2.1", f"Name: {project}", "Version: 1.0", "Requires-Python: >=3.9"]
        said += [f"Requires-Dist: {need}>=0.1" for need in needs]
        add(f"{info}/METADATA", "\n".join([*said, "", ""]).encode())
        add(
            f"{info}/WHEEL",
            b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
