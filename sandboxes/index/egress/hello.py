"""The name in a TLS hello (RFC 8446 section 4.1.2, RFC 6066 section 3), read without answering. Pure and strict.

A client says in the clear which host it wants. If that is not the host that was
allowed, a front of many sites (a CDN) would take it to another one: so the first hello
is read before a byte of it goes out. It may come in pieces, of TCP and of TLS records.
"""

from typing import Final

from sandboxes.errors import RefusedError

LONGEST: Final = 64 * 1024  # bytes of records; with post-quantum keys a hello is about 2 kB
HANDSHAKE: Final = 0x16  # the first byte of a connection that begins with TLS
# alert, TLS 1.0 as hellos have it, 2 bytes: fatal, unrecognized_name
UNRECOGNISED: Final = bytes([0x15, 3, 1, 0, 2, 2, 112])
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0


class HelloError(RefusedError):
    """It is no TLS hello, or not one that can be understood in one way only."""

    code = "tls"


def name_in(data: bytes) -> str | None:
    """The host name asked for, "" if there is none; None: more bytes are needed."""
    message = _message(data)
    return None if message is None else _name(message)


class _Fields:
    """Reads length-prefixed fields, and never past their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise HelloError("The TLS hello is cut short inside.")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records; None while it is not whole."""
    message, at = bytearray(), 0
    while True:
        if len(message) >= 4:
            if message[0] != _CLIENT_HELLO:
                raise HelloError("The connection does not begin with a TLS hello.")
            end = 4 + int.from_bytes(message[1:4])
            if end > LONGEST:
                raise HelloError("The TLS hello is too long.")
            if len(message) >= end:
                return bytes(message[4:end])
        header = data[at : at + 5]
        if header and (header[0] != HANDSHAKE or (len(header) > 1 and header[1] != 3)):
            raise HelloError("The connection does not begin with a TLS hello.")
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5])
        if not 0 < length <= 2**14:
            raise HelloError("A TLS record has a length that none can have.")
        message += data[at + 5 : at + 5 + length]  # what is there of it yet
        at += 5 + length


def _name(body: bytes) -> str:
    fields = _Fields(body)
    fields.take(2 + 32)  # version, random
    for width in (1, 2, 1):  # session, cipher suites, compression
        fields.vector(width)
    if not fields:
        return ""
    extensions, name, seen = _Fields(fields.vector(2)), "", set[int]()
    if fields:
        raise HelloError("The TLS hello goes on after its end.")
    while extensions:
        kind, value = extensions.number(2), extensions.vector(2)
        if kind in seen:
            raise HelloError("The TLS hello says something twice.")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _host_name(value)
    return name


def _host_name(value: bytes) -> str:
    """A list with exactly one host name: two would let us read one and the server the other."""
    fields = _Fields(value)
    names = _Fields(fields.vector(2))
    kind, name = names.number(1), names.vector(2)
    if fields or names or kind != _HOST_NAME:
        raise HelloError("The TLS hello names more than one host.")
    try:
        return name.decode("ascii").lower()
    except UnicodeDecodeError as error:
        raise HelloError("The TLS hello names a host that is none.") from error
