"""The script that lists what is installed, run on real folders by a real interpreter, as in a pod."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sandboxes.cluster.entering import inventory_command

SHELL = inventory_command()


def run(root: Path, **changes: str) -> dict[str, Any]:
    """With the folder in the place of the workspace; `changes` are limits."""
    script = SHELL[3].replace('ROOTS = ("/workspace", "/tmp")', f"ROOTS = ({str(root)!r},)")
    for name, value in changes.items():
        before = script
        script = script.replace(name, value, 1)
        assert script != before
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def dist(site: Path, name: str, files: dict[str, str], version: str = "1.0", record: bool = True) -> Path:
    """As pip leaves it."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n"
    )
    lines = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(text)}")
    if record:
        (info / "RECORD").write_text("\n".join(lines))
    return info


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / ".venv" / "lib" / "python3.13" / "site-packages"


def found(root: Path, **changes: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in run(root, **changes)["items"]}


def test_what_is_whole_what_was_changed_and_what_is_gone(tmp_path: Path, site: Path) -> None:
    dist(site, "whole", {"whole/a.py": "1"})
    dist(site, "changed", {"changed/a.py": "1", "changed/b.py": "2"})
    dist(site, "gone", {"gone/a.py": "1"})
    (site / "changed/b.py").write_text("import os")
    (site / "gone/a.py").unlink()
    items = found(tmp_path)
    assert {name: item["altered"] for name, item in items.items()} == {
        "whole": [],
        "changed": ["changed/b.py"],
        "gone": ["gone/a.py"],
    }
    assert items["whole"]["version"] == "1.0"
    assert items["whole"]["path"] == str(site / "whole-1.0.dist-info")


def test_npm_with_scopes_and_nesting(tmp_path: Path) -> None:
    for folder, name in (
        ("node_modules/left-pad", "left-pad"),
        ("node_modules/@a/b", "@a/b"),
        ("node_modules/left-pad/node_modules/inner", "inner"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "package.json").write_text(json.dumps({"name": name, "version": "1.2.3"}))
    (tmp_path / "node_modules/.bin").mkdir()
    items = found(tmp_path)
    assert {(item["ecosystem"], name, item["version"]) for name, item in items.items()} == {
        ("npm", "left-pad", "1.2.3"),
        ("npm", "@a/b", "1.2.3"),
        ("npm", "inner", "1.2.3"),
    }


def test_what_cannot_be_read_stops_nothing(tmp_path: Path, site: Path) -> None:
    dist(site, "good", {"good.py": "1"})
    dist(site, "unrecorded", {"u.py": "1"}, record=False)
    (site / "broken-1.0.dist-info").mkdir()
    (dist(site, "odd", {}) / "RECORD").write_bytes(b'\xff\x00,"sha256=\n../../x,sha256=,,\n')
    modules = tmp_path / "node_modules"
    for name, text in (("a", "{"), ("b", "[1]"), ("c", "[" * 100_000), ("d", '{"name": 7}')):
        (modules / name).mkdir(parents=True)
        (modules / name / "package.json").write_text(text)
    (site / "loop").symlink_to(site)
    printed = run(tmp_path)
    assert {"good", "unrecorded", "odd"} <= {item["name"] for item in printed["items"]}
    assert printed["unread"] >= 3
    assert printed["complete"] is True


def unrecorded(root: Path, **changes: str) -> set[str]:
    items = run(root, **changes)["items"]
    return {Path(item["path"]).name for item in items if item.get("unrecorded") is True}


def test_what_no_record_names_is_listed(tmp_path: Path, site: Path) -> None:
    dist(site, "six", {"six.py": "x = 1"})
    dist(site, "tools", {"tools/a.py": "1", "../../../bin/tools.py": "1", "named.pth": "import tools.a"})
    for dropped in (
        "evil.pth",
        "sitecustomize.py",
        "usercustomize.py",
        "fast.cpython-313-x86_64-linux-gnu.so",
    ):
        (site / dropped).write_text("x")
    for dropped in ("evil/__init__.py", "spaces/deep/inside.py", "old-1.0.egg-info/PKG-INFO", "bin/a.py"):
        (site / dropped).parent.mkdir(parents=True)
        (site / dropped).write_text("x")
    for harmless in ("README.txt", "__pycache__/six.cpython-313.pyc", "data/table.csv", ".git/x.py"):
        (site / harmless).parent.mkdir(exist_ok=True)
        (site / harmless).write_text("x")
    (site / "linked").symlink_to(site / "evil")
    assert unrecorded(tmp_path) == {
        "evil.pth",
        "sitecustomize.py",
        "usercustomize.py",
        "fast.cpython-313-x86_64-linux-gnu.so",
        "evil",
        "spaces",
        "old-1.0.egg-info",
        "linked",
    }
    assert [item for item in run(tmp_path)["items"] if item["name"] == "evil.pth"] == [
        {
            "ecosystem": "pypi",
            "name": "evil.pth",
            "version": "",
            "path": str(site / "evil.pth"),
            "unrecorded": True,
        }
    ]


def test_an_empty_environment_is_looked_at_too_and_an_own_project_is_not(tmp_path: Path, site: Path) -> None:
    site.mkdir(parents=True)
    (site / "evil.pth").write_text("import os")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/main.py").write_text("1")
    assert unrecorded(tmp_path) == {"evil.pth"}


def test_a_real_environment_has_nothing_that_no_record_names(tmp_path: Path) -> None:
    """As `python -m venv` and pip leave it; setuptools brings a `.pth` file and packages under other names."""
    environment = tmp_path / "workspace" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    wheels = [
        _wheel(tmp_path, "setuptools", {"setuptools/a.py": "1", "_distutils_hack/__init__.py": "1",
                                        "pkg_resources/__init__.py": "1", "distutils-precedence.pth": "1"}),
        _wheel(tmp_path, "Odd.Name", {"other.py": "1", "spaces/deep/a.py": "1",
                                      "odd_name-1.0.data/data/share/odd/b.py": "1"}),
    ]  # fmt: skip
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--no-index", "--no-deps", "-q"]
    subprocess.run([*pip, *map(str, wheels)], check=True)
    subprocess.run([str(environment / "bin" / "python"), "-c", "import other"], check=True)
    assert {"setuptools", "pip", "Odd.Name"} <= set(found(tmp_path / "workspace"))
    assert unrecorded(tmp_path / "workspace") == set()
    (site / "pkg_resource").mkdir()
    (site / "pkg_resource/__init__.py").write_text("1")
    assert unrecorded(tmp_path / "workspace") == {"pkg_resource"}


def test_what_a_package_brings_inside_of_itself_is_part_of_it(tmp_path: Path, site: Path) -> None:
    """As setuptools has other distributions in a folder `_vendor`; one that is put there later is told."""
    info = "tools/_vendor/inner-2.0.dist-info"
    record = "inner.py,sha256=x,1\n../../bin/inner,sha256=x,1\n"
    inner = {"tools/_vendor/inner.py": "1", f"{info}/METADATA": "Name: inner\n", f"{info}/RECORD": record}
    dist(site, "tools", inner)
    assert set(found(tmp_path)) == {"tools"}
    dist(site / "tools" / "_vendor", "later", {"later.py": "1"})
    assert {"tools", "later"} <= set(found(tmp_path))


def _wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    stem = f"{name.lower().replace('.', '_')}-1.0"
    path = folder / f"{stem}-py3-none-any.whl"
    given = {f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
             f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, **given}.items():
            archive.writestr(member, text)
        record = [f"{member},," for member in (*files, *given, f"{stem}.dist-info/RECORD")]
        archive.writestr(f"{stem}.dist-info/RECORD", "\n".join(record))
    return path


def test_a_record_that_is_too_long_is_told(tmp_path: Path, site: Path) -> None:
    dist(site, "long", {f"long/{number}.py": "1" for number in range(30)})
    assert run(tmp_path)["complete"] is True
    printed = run(tmp_path, **{"4 << 20, 10": "500, 10"})
    assert (printed["complete"], [item["name"] for item in printed["items"]]) == (False, ["long"])


def test_limits_are_kept_and_told(tmp_path: Path, site: Path) -> None:
    for number in range(5):
        dist(site, f"p{number}", {f"p{number}.py": "1"})
    printed = run(tmp_path, **{"45, 5000": "45, 3"})
    assert (len(printed["items"]), printed["complete"]) == (3, False)
    assert run(tmp_path, **{"= 45,": "= -1,"}) == {"items": [], "unread": 0, "complete": False}


def test_the_command_uses_the_images_interpreter_and_nothing_of_the_owners(tmp_path: Path) -> None:
    """The owner's environment comes first in the workspace's PATH."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python3").write_text("#!/bin/sh\necho '{}'\n")
    (fake / "python3").chmod(0o755)
    environment = {
        "PATH": f"{fake}:/usr/bin:/bin",
        "PYTHONSTARTUP": "/nonexistent",
        "PYTHONPATH": str(tmp_path),
    }
    script = "import sys; print(sys.executable, sys.flags.isolated, sys.flags.no_site)"
    done = subprocess.run([*SHELL[:3], script], env=environment, capture_output=True, check=True, text=True)
    executable, *flags = done.stdout.split()
    assert not executable.startswith(str(tmp_path))
    assert flags == ["1", "1"]
