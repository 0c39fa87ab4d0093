"""A feed at an https URL: a real server on loopback with a certificate of its own."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandboxes.errors import InvalidInputError, TemporaryError
from sandboxes.screening import download
from sandboxes.screening.download import download as fetch
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Feed
from tests.sandboxes.screening.documents import as_zip, document

type Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """What is asked for and how it is answered: one answer for each path."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []  # path, Authorization
        self.url = ""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("Authorization", "")))
            served.answers[self.path](self)

        def log_message(self, *_: object) -> None: ...

    certificate = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    served.url = f"https://127.0.0.1:{listening.server_port}"
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    listening.shutdown()
    listening.server_close()
    thread.join()


def _certificate(folder: Path) -> Path:
    """For 127.0.0.1, signed by itself; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "feeds")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def body(content: bytes, *, promised: int | None = None, status: int = 200) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if promised is None else promised))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def redirect(location: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.django_db
def test_a_dump_is_fetched_and_taken_in(server: Server, tmp_path: Path) -> None:
    server.answers["/all.zip"] = body(
        as_zip(tmp_path / "all.zip", document("X-1"), document("X-2")).read_bytes()
    )
    server.answers["/one.json"] = body(json.dumps(document("X-3")).encode())
    assert import_feed(f"{server.url}/all.zip", by=None).new == 2
    assert import_feed(f"{server.url}/one.json", by=None).new == 1
    assert {feed.pk for feed in Feed.objects.all()} == {f"{server.url}/all.zip", f"{server.url}/one.json"}


@pytest.mark.django_db
def test_a_feed_that_fails_later_says_so(server: Server, tmp_path: Path) -> None:
    server.answers["/one.json"] = body(json.dumps(document("X-3")).encode())
    import_feed(f"{server.url}/one.json", by=None)
    server.answers["/one.json"] = body(b"", status=503)
    with pytest.raises(TemporaryError, match="503"):
        import_feed(f"{server.url}/one.json", by=None)
    assert "503" in Feed.objects.get().error


def test_credentials_go_to_the_server_they_are_for_and_nowhere_else(server: Server) -> None:
    server.answers["/moved"] = redirect("/here")
    server.answers["/here"] = body(b"[]")
    with fetch(server.url.replace("://", "://ada:s%40fe@") + "/moved") as file:
        assert file.read() == b"[]"
    assert server.asked == [("/moved", "Basic YWRhOnNAZmU="), ("/here", "")]


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_does_not_leave_https(location: str, server: Server) -> None:
    server.answers["/moved"] = redirect(location)
    with (
        pytest.raises((InvalidInputError, TemporaryError), match=r"https|answers 302"),
        fetch(server.url + "/moved"),
    ):
        pass


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "ftp://a/b", "file:///etc/passwd", "https://", "https://[::1/x"]
)
def test_only_https(url: str) -> None:
    with pytest.raises(InvalidInputError), fetch(url):
        pass


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, InvalidInputError), (403, InvalidInputError), (500, TemporaryError), (429, TemporaryError)],
)
def test_a_refusal_says_whether_trying_again_helps(
    status: int, kind: type[Exception], server: Server
) -> None:
    server.answers["/x"] = body(b"", status=status)
    with pytest.raises(kind, match=str(status)), fetch(server.url + "/x"):
        pass


def test_an_unknown_certificate_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    server.answers["/x"] = body(b"[]")
    with (
        pytest.raises(TemporaryError, match="certificate"),
        fetch(server.url.replace("://", "://ada:secret@") + "/x"),
    ):
        pass


def test_no_more_is_taken_than_may_be(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MOST", 1000)
    server.answers["/x"] = body(b"0" * 5000)
    with pytest.raises(InvalidInputError, match="larger"), fetch(server.url + "/x"):
        pass


def test_one_that_breaks_off_is_not_taken_for_whole(server: Server) -> None:
    server.answers["/x"] = body(b"[1,2]", promised=50)
    with pytest.raises(TemporaryError), fetch(server.url + "/x"):
        pass


def test_a_slow_drip_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LONGEST", 0.2)
    server.answers["/x"] = drip
    with pytest.raises(TemporaryError, match="longer"), fetch(server.url + "/x"):
        pass


def test_nobody_there(server: Server) -> None:
    with pytest.raises(TemporaryError, match="cannot be fetched"), fetch("https://127.0.0.1:9/x"):
        pass
