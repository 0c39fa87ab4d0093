"""Records from where they lie: a JSON file, a folder of them, a dump's zip, or such a file at an https URL.

They come one by one, whatever their number, and each is limited by what is really read, not by
what a header says. One that cannot be read is handed on with its fault; only what makes the whole
source unreadable is raised, as `InvalidInputError` or `TemporaryError`.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import IO, Final

from sandboxes.errors import InvalidInputError
from sandboxes.screening.download import download

MIB: Final = 1024 * 1024
MOST_RECORD = 16 * MIB  # bytes of one file in a folder or zip; real ones are up to 2 MiB
MOST_FILE = 256 * MIB  # of one JSON file, which may hold a list
MOST_UNPACKED = 8192 * MIB  # of all of a zip's members together
MOST_DIRECTORY = 64 * MIB  # of a zip's list of members, which is held in memory: over 500,000 of them
_ZIP: Final = b"PK"


@dataclass(frozen=True, slots=True)
class Item:
    """A JSON document that should be a record, or why there is none."""

    name: str  # the file, and the place in it if it holds several
    size: int  # bytes, about
    document: object = None
    fault: str = ""


@contextmanager
def opened(source: str) -> Iterator[Iterator[Item]]:
    """The source's items. What was fetched is removed afterwards."""
    if "://" in source:
        with download(source) as file:
            yield _of_file(file, "record")
        return
    path = Path(source)
    try:
        if path.is_dir():
            yield _of_folder(path)
        else:
            with path.open("rb") as file:
                yield _of_file(file, path.name)
    except OSError as error:
        raise InvalidInputError(f"{source} cannot be read: {error.strerror or error}.") from error


def _of_folder(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*.json")):
        name = str(path.relative_to(folder))
        try:
            with path.open("rb") as file:
                data = file.read(MOST_RECORD + 1)
        except OSError as error:
            yield Item(name, 0, fault=f"it cannot be read: {error.strerror or error}")
            continue
        yield from _documents(name, data, MOST_RECORD)


def _of_file(file: IO[bytes], name: str) -> Iterator[Item]:
    is_zip = file.read(len(_ZIP)) == _ZIP
    file.seek(0)
    if is_zip:
        yield from _of_zip(file)
    else:
        yield from _documents(name, file.read(MOST_FILE + 1), MOST_FILE)


def _of_zip(file: IO[bytes]) -> Iterator[Item]:
    try:
        archive = zipfile.ZipFile(_Guarded(file))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InvalidInputError(f"That is no zip that can be read: {error}.") from error
    unpacked = 0
    with closing(archive):
        for member in archive.infolist():
            if member.is_dir() or not member.filename.endswith(".json"):
                continue
            data = _unpacked(archive, member)
            if isinstance(data, Item):
                yield data
                continue
            unpacked += len(data)
            if unpacked > MOST_UNPACKED:
                raise InvalidInputError(f"That zip unpacks to more than {MOST_UNPACKED // MIB} MiB.")
            yield from _documents(member.filename, data, MOST_RECORD)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | Item:
    """No more of it than may be, and one byte that tells that there is more."""
    try:
        with archive.open(member) as file:
            return file.read(MOST_RECORD + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return Item(member.filename, 0, fault=f"it cannot be unpacked: {error}")
    except OSError as error:  # also what bz2 says of damage, and what a disk does
        return Item(member.filename, 0, fault=f"it cannot be unpacked: {error.strerror or error}")


def _documents(name: str, data: bytes, most: int) -> Iterator[Item]:
    if len(data) > most:
        yield Item(name, 0, fault=f"it is larger than {most // MIB} MiB")
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        yield Item(name, len(data), fault=f"it is no JSON: {error}")
        return
    if not isinstance(document, list):
        yield Item(name, len(data), document)
        return
    for number, each in enumerate(document, 1):
        yield Item(f"{name}[{number}]", len(data) // len(document), each)


class _Guarded(RawIOBase):
    """A file that is not read in pieces of any size: zipfile takes the whole list of members at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of members is larger than {MOST_DIRECTORY // MIB} MiB")
        return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def named(source: str) -> str:
    """As it is shown and kept: a URL without credentials and query, a path as it is."""
    if "://" not in source:
        return str(Path(source).resolve())
    scheme, _, rest = source.partition("://")
    place = rest.partition("?")[0].partition("#")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
