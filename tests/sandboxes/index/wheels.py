"""Tiny real wheels, built in memory."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Package:
    """A distribution file as an upstream has it."""

    filename: str
    data: bytes = field(repr=False)
    metadata: bytes | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def metadata_sha256(self) -> str:
        return hashlib.sha256(self.metadata or b"").hexdigest()


def make_wheel(
    name: str = "demo",
    version: str = "1.0",
    *,
    padding: bytes = b"",
    requires: str = "",
    headers: Iterable[str] = (),
) -> Package:
    """An installable wheel; `padding` makes it as large as a test wants, `headers` are more lines of METADATA."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    metadata += "".join(f"{line}\n" for line in headers)
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": f'VERSION = "{version}"\n'.encode(),
        f"{name}.bin": padding,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in contents.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return Package(f"{name}-{version}-py3-none-any.whl", buffer.getvalue(), metadata.encode())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
