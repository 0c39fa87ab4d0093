"""What the egress proxy's tests stand on: a client that is a sandbox, and a TLS host on loopback."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "api.example.org"
PATIENCE = 10.0

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def certificate(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for these names, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "both.pem"
        both.write_bytes(pem + secret)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(both)
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything back, then the end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@dataclass
class Host:
    """A server on loopback that counts who comes and what it hears."""

    handler: Handler = echo
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    met: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._meet, self.address, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await self._server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        self._open.add(writer)
        try:
            await self.handler(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()
            self._open.discard(writer)


@dataclass
class Answer:
    """The proxy's answer, and the connection behind it."""

    status: int
    reason: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    document: dict[str, Any] = field(default_factory=dict)

    async def tls(self, context: ssl.SSLContext, name: str | None) -> None:
        """TLS inside the tunnel, asking for that name."""
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(context, server_hostname=name)

    async def said(self, data: bytes) -> bytes:
        """What an echo answers."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(len(data))

    async def over(self, seconds: float = PATIENCE) -> bytes:
        """All that still comes; nothing if it was cut."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        self.writer.transport.abort()


_ANSWERS: list[Answer] = []


async def close_all() -> None:
    """What a test left open."""
    while _ANSWERS:
        _ANSWERS.pop().close()
    await asyncio.sleep(0)


async def ask(port: int, request: bytes) -> Answer:
    """Sends these bytes to the proxy and reads the head of its answer; of a refusal, all of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    _, status, reason = head[0].split(" ", 2)
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    answer = Answer(int(status), reason, headers, reader, writer)
    _ANSWERS.append(answer)
    if headers.get("Content-Type") == "application/problem+json":
        async with asyncio.timeout(PATIENCE):
            answer.document = json.loads(await reader.readexactly(int(headers["Content-Length"])))
    return answer


def connect_head(target: str, name: str, token: str, *lines: str) -> bytes:
    """A CONNECT as clients send it; without a name, without credentials."""
    login = [f"Proxy-Authorization: {aiohttp.encode_basic_auth(name, token)}"] if name else []
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {target}", *login, *lines, "", ""]).encode()
