"""A way out as its people meet it: asked for, approved, used through the real proxy, and gone on its date."""

import asyncio
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import create_connection, socket
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from tests.journey import TRIAL, Person, people
from tests.petridish import Petridish, running
from tests.sandboxes.index.egress_world import HOST, Host, certificate

OTHER = "other.example.org"
SERVER, CLIENT = certificate(HOST)


@contextmanager
def tls_host() -> Iterator[Host]:
    """A TLS host on loopback that echoes, in a thread of its own."""
    host, loop = Host(tls=SERVER), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(host.start(), loop).result(10)
    yield host
    asyncio.run_coroutine_threadsafe(host.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Petridish]:
    inside = f"{HOST}=127.0.0.1,{OTHER}=127.0.0.1"
    with running(tmp_path_factory.mktemp("egress") / "data", EGRESS_INSIDE=inside) as petridish:
        yield petridish


@pytest.fixture
def person(portal: Petridish) -> Iterator[Callable[[str], Person]]:
    with people(portal) as named:
        yield named


def connect(portal: Petridish, index_url: str, target: str) -> tuple[socket, str]:
    """What any client with HTTPS_PROXY does first; the connection, and the status line."""
    login = urlsplit(index_url)
    pair = f"{unquote(login.username or '')}:{login.password}".encode()
    connection = create_connection(("127.0.0.1", portal.egress_port), timeout=20)
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    request += f"Proxy-Authorization: Basic {b64encode(pair).decode()}\r\n\r\n"
    connection.sendall(request.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
        head += byte
    return connection, head.decode().split("\r\n")[0]


def is_cut(connection: socket) -> bool:
    """Within five seconds; a TimeoutError says that it was not."""
    connection.settimeout(6)
    try:
        return connection.recv(100) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def approved(alice: Person, iris: Person, sandbox: int, **way: Any) -> Any:
    asked = alice.post(f"/sandboxes/{sandbox}/egress", {"reason": "Load the sample", **way}, 201)
    assert asked["state"] == "pending"
    decided = iris.post(f"/requests/{asked['id']}/decision", {"decision": "approve", "reason": "Fine"})
    assert decided["state"] == "approved"
    return alice.get(f"/sandboxes/{sandbox}/egress")[0]


def execute(portal: Petridish, statement: str, *values: Any) -> None:
    with psycopg.connect((portal.data_dir / "database_url").read_text().strip()) as database:
        database.execute(statement, values)


def test_one_host_and_nothing_else_until_its_date(portal: Petridish, person: Callable[[str], Person]) -> None:
    alice, iris = person("alice"), person("iris")
    sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    with tls_host() as host:
        target = f"{HOST}:{host.port}"
        closed, status = connect(portal, sandbox["index_url"], target)
        closed.close()
        assert status.startswith("HTTP/1.1 403 The seal lets this sandbox reach no")
        assert f"{portal.url}/sandboxes/{sandbox['id']}" in status

        way = approved(alice, iris, sandbox["id"], host=HOST, port=host.port)
        connection, status = connect(portal, sandbox["index_url"], target)
        assert status == "HTTP/1.1 200 Connection established"
        with CLIENT.wrap_socket(connection, server_hostname=HOST) as tunnel:
            tunnel.sendall(b"hello")
            assert tunnel.recv(100) == b"hello"
            other, status = connect(portal, sandbox["index_url"], f"{OTHER}:{host.port}")
            other.close()
            assert status.startswith("HTTP/1.1 403 ")

            execute(portal, "UPDATE lifecycle_egressexception SET until = now() WHERE id = %s", way["id"])
            assert is_cut(tunnel)
        again, status = connect(portal, sandbox["index_url"], target)
        again.close()
        assert status.startswith("HTTP/1.1 403 ")

    rows = alice.until(
        f"/sandboxes/{sandbox['id']}/connections", lambda rows: all(row["ended_at"] for row in rows)
    )
    assert [(row["host"], row["allowed"]) for row in rows] == [
        (HOST, False),
        (OTHER, False),
        (HOST, True),
        (HOST, False),
    ]
    assert rows[2]["bytes_up"] > 300
    assert rows[2]["address"] == "127.0.0.1"
    ended = alice.until(f"/sandboxes/{sandbox['id']}/egress", lambda rows: rows[0]["ended_at"])
    assert ended[0]["id"] == way["id"]
    actions = [
        entry["action"]
        for entry in person("omar").get("/audit?after=0&limit=200")
        if entry["subject"] == f"sandbox:{sandbox['id']}"
    ]
    assert actions[-2:] == ["sandbox.egress_granted", "sandbox.egress_ended"]


def test_a_block_is_a_policy_of_the_cluster(portal: Petridish, person: Callable[[str], Person]) -> None:
    alice, iris = person("alice"), person("iris")
    sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    way = approved(alice, iris, sandbox["id"], cidr="203.0.113.0/24", port=5432)
    where = f"/sandboxes/{sandbox['id']}/egress"
    alice.until(where, lambda rows: rows[0]["applied_at"])
    alice.post(f"{where}/{way['id']}/end")
    alice.until(where, lambda rows: rows[0]["removed_at"])
    assert alice.get(f"/sandboxes/{sandbox['id']}")["phase"] == "ready"


def test_ending_the_sandbox_cuts_its_tunnels(portal: Petridish, person: Callable[[str], Person]) -> None:
    alice, iris = person("bob"), person("iris")
    sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
    with tls_host() as host:
        approved(alice, iris, sandbox["id"], host=HOST, port=host.port)
        connection, status = connect(portal, sandbox["index_url"], f"{HOST}:{host.port}")
        assert status.startswith("HTTP/1.1 200 ")
        alice.post(f"/sandboxes/{sandbox['id']}/end")
        assert is_cut(connection)
        connection.close()
        late, status = connect(portal, sandbox["index_url"], f"{HOST}:{host.port}")
        late.close()
        assert status.startswith("HTTP/1.1 407 ")
