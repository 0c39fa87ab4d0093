"""Machine code and what cannot be looked into."""

import random

import pytest

from sandboxes.screening.detectors import native
from sandboxes.screening.findings import Threat
from sandboxes.screening.package import Kind
from tests.sandboxes.screening.detectors.snippets import found_in
from tests.sandboxes.screening.packages import MadeMember

ELF = b"\x7fELF" + b"\2" * 100
PE = b"MZ" + b"\0" * 60 + b"PE\0\0" + b"\0" * 100
MACHO = b"\xcf\xfa\xed\xfe" + b"\0" * 100
ZIP = b"PK\x03\x04" + b"\0" * 100
NOISE = random.Random(1).randbytes(100_000)
PLATFORM = "thing-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("path", "content", "kind", "rule", "threat"),
    [
        ("thing/a.so", ELF, Kind.WHEEL, "in-pure-wheel", Threat.HIGH),
        ("thing/a.exe", PE, Kind.WHEEL, "in-pure-wheel", Threat.HIGH),
        ("thing/tool", MACHO, Kind.WHEEL, "in-pure-wheel", Threat.HIGH),
        ("thing/logo.png", ELF, Kind.WHEEL, "disguised", Threat.CRITICAL),
        ("thing/notes.txt", PE, Kind.NPM, "disguised", Threat.CRITICAL),
        ("bin/tool", ELF, Kind.SDIST, "in-source", Threat.HIGH),
        ("build/x.node", ELF, Kind.NPM, "in-source", Threat.MEDIUM),
        ("tests/data/x.so", ELF, Kind.SDIST, "in-tests", Threat.LOW),
        ("distlib/t64.exe", PE, Kind.WHEEL, "launcher", Threat.LOW),
        ("thing/a.zip", ZIP, Kind.WHEEL, "nested-archive", Threat.LOW),
        ("thing/a.gif", ZIP, Kind.WHEEL, "disguised-archive", Threat.HIGH),
        ("thing/a.zip", ZIP[:6] + b"\1" + ZIP[7:], Kind.WHEEL, "encrypted-archive", Threat.HIGH),
        ("thing/blob.xyz", NOISE, Kind.WHEEL, "opaque", Threat.MEDIUM),
        ("thing/run.vbs", b"WScript", Kind.WHEEL, "windows-script", Threat.MEDIUM),
    ],
)
def test_what_has_no_business_there(path: str, content: bytes, kind: Kind, rule: str, threat: Threat) -> None:
    found = found_in(native, {path: content}, kind)
    assert [(each.rule, each.threat, each.path) for each in found] == [(f"native.{rule}", threat, path)]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("thing/a.so", b"no machine code at all"),
        ("thing/A.class", b"\xca\xfe\xba\xbe\0\0\0\x34" + b"\0" * 100),
        ("thing/a.txt", b"MZ is how this text begins"),
        ("thing/table.xyz", b"a table of text " * 10_000),
        ("thing/photo.png", NOISE),
        ("thing/empty", b""),
    ],
)
def test_what_only_looks_so(path: str, content: bytes) -> None:
    assert found_in(native, {path: content}) == []


def test_a_platform_s_wheel_brings_its_own_machine_code() -> None:
    assert found_in(native, {"thing/a.so": ELF}, filename=PLATFORM) == []
    (found,) = found_in(native, {"thing/a.exe": PE}, filename=PLATFORM)
    assert (found.rule, found.threat) == ("native.foreign", Threat.MEDIUM)


def test_members_are_read_as_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tarball, each step back would unpack again what is before it."""
    read: list[str] = []
    whole = MadeMember.read

    def noted(member: MadeMember, most: int = 1 << 30) -> bytes:
        read.append(member.path)
        return whole(member, most)

    monkeypatch.setattr(MadeMember, "read", noted)
    files = {"a.py": b"x = 1", "b.so": ELF, "c.txt": b"text", "d.bin": ELF + ELF}
    found = found_in(native, files, Kind.SDIST)
    assert read == sorted(read)
    assert [each.path for each in found] == ["d.bin", "b.so"]  # the gravest first
