"""Whether a wheel's RECORD and its members agree (the binary distribution format, "The .dist-info directory").

Installers do not compare hashes, so a wheel that was changed after it was built still installs; its
RECORD tells. Hashes are made from the smallest member up to a number of bytes in all: code is small, and
a gigabyte of machine code would take longer than a scan may.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from typing import Final

from sandboxes.screening.archives.limits import MIB, READ, said
from sandboxes.screening.archives.members import FileMember
from sandboxes.screening.archives.oddities import shown
from sandboxes.screening.package import Kind, Member, Package

HASHED: Final = 256 * MIB  # bytes in all
TOLD: Final = 50  # disagreements
_HASHES: Final = ("sha256", "sha384", "sha512")
_UNSIGNED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")  # which RECORD need not know


def record_disagreements(package: Package, hashed: int = HASHED) -> Iterator[str]:
    """Plain sentences, at most `TOLD`; none for what is no wheel. Raises `ArchiveError`."""
    if package.kind is not Kind.WHEEL:
        return
    for number, sentence in enumerate(_disagreements(package, hashed)):
        if number == TOLD:
            yield "RECORD disagrees in more than that."
            return
        yield sentence


def _disagreements(package: Package, hashed: int) -> Iterator[str]:
    records = [member for member in package.members if _is_record(member.path)]
    if len(records) != 1:
        yield "There is no RECORD." if not records else f"There are {len(records)} files named RECORD."
        return
    record = records[0]
    if record.size > READ:
        yield f"RECORD has {said(record.size)}; only its first {said(READ)} are looked at."
    rows, problem = _rows(record.text())
    if problem:
        yield problem
    named: dict[str, tuple[str, str]] = {}
    for path, digest, size in rows:
        if path in named:
            yield f"RECORD names {shown(path)} twice."
        named[path] = (digest, size)
    yield from _missing(package, named)
    folder = record.path.removesuffix("RECORD")
    yield from _left_out(package, named, folder)
    yield from _altered(package, named, record.path, hashed)


def _is_record(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name == "RECORD" and "/" not in folder and folder.endswith(".dist-info")


def _rows(text: str) -> tuple[list[tuple[str, str, str]], str]:
    rows: list[tuple[str, str, str]] = []
    try:
        rows.extend(_three(row) for row in csv.reader(io.StringIO(text)) if row)
    except csv.Error as error:
        return rows, f"RECORD cannot be read to its end: {error}."
    return rows, ""


def _three(row: list[str]) -> tuple[str, str, str]:
    path, digest, size, *_ = (*row, "", "")
    return path, digest, size


def _missing(package: Package, named: dict[str, tuple[str, str]]) -> Iterator[str]:
    for path in named:
        if package.member(path) is None:
            yield f"RECORD names {shown(path)}, which is not there."


def _left_out(package: Package, named: dict[str, tuple[str, str]], folder: str) -> Iterator[str]:
    free = {folder + name for name in _UNSIGNED}
    for member in package.members:
        if member.path not in named and member.path not in free:
            yield f"RECORD leaves out {shown(member.path)}."


def _altered(package: Package, named: dict[str, tuple[str, str]], record: str, left: int) -> Iterator[str]:
    for member in sorted(package.members, key=lambda each: each.size):
        digest, size = named.get(member.path, ("", ""))
        if member.path == record or member.path not in named:
            continue
        if size and size != str(member.size):
            yield f"RECORD says {shown(member.path)} has {shown(size)} bytes; it has {member.size}."
            continue
        if not digest:
            if not member.path.startswith(record):  # its signatures have none
                yield f"RECORD has no hash of {shown(member.path)}."
            continue
        left -= member.size
        if left >= 0:
            yield from _differing(member, digest)


def _differing(member: Member, digest: str) -> Iterator[str]:
    algorithm, _, told = digest.partition("=")
    if algorithm not in _HASHES:
        yield f"RECORD has a hash of {shown(member.path)} that proves nothing ({shown(algorithm)})."
        return
    made = hashlib.new(algorithm)
    for chunk in _chunks(member):
        made.update(chunk)
    if base64.urlsafe_b64encode(made.digest()).decode().rstrip("=") != told.rstrip("="):
        yield f"RECORD has another hash of {shown(member.path)}: it was changed after it was built."


def _chunks(member: Member) -> Iterator[bytes]:
    """What fits into the cache is read through it: the other detectors want it as well."""
    if isinstance(member, FileMember) and member.size > READ:
        yield from member.chunks()
    else:
        yield member.read()
