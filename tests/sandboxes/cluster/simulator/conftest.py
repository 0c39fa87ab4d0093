"""A simulated cluster, and a plain HTTP client for it."""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.simulator import Simulator

type Json = dict[str, Any]


def wait_for[T](look: Callable[[], T], seconds: float = 10.0) -> T:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.02)
    return found


class Client:
    """`client("GET", path, body, query=…)` → (status, body)."""

    def __init__(self, simulator: Simulator, namespace: str) -> None:
        token = (simulator.folder / "token").read_text()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{simulator.port}",
            headers={"Authorization": f"Bearer {token}", "User-Agent": "tests/1"},
        )
        self.namespace = namespace
        self.core = f"/api/v1/namespaces/{namespace}"

    def __call__(self, method: str, path: str, body: Json | None = None, **query: str) -> tuple[int, Json]:
        content_type = query.pop("content_type", "application/json")
        query = {name.rstrip("_"): value for name, value in query.items()}  # continue_ is no keyword
        response = self.http.request(
            method, path, json=body, params=query, headers={"Content-Type": content_type}
        )
        return response.status_code, response.json()

    def apply(self, path: str, body: Json, manager: str = "petridish", **query: str) -> tuple[int, Json]:
        query |= {"fieldManager": manager, "content_type": "application/apply-patch+yaml"}
        return self("PATCH", path, body, **query)

    def config_map(self, name: str, **fields: Any) -> Json:
        status, item = self("POST", f"{self.core}/configmaps", config_map(name, **fields))
        assert status == 201, item
        return item


def config_map(
    name: str, *, labels: Json | None = None, finalizers: list[str] | None = None, **fields: Any
) -> Json:
    metadata = {"name": name, "labels": labels or {}, "finalizers": finalizers or []}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def pod(name: str, **spec: Any) -> Json:
    containers = [{"name": "c", "image": "python:3.13-slim"}]
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}}
    return {**head, "spec": {"containers": containers, "terminationGracePeriodSeconds": 1, **spec}}


@pytest.fixture(scope="package")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    options = ("--delete-seconds", "0.1", "--ready-seconds", "0.05", "--history", "500")
    with Simulator(tmp_path_factory.mktemp("simulator"), *options) as simulator:
        yield simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    """A client with a namespace of its own, furnished as every new namespace is."""
    client = Client(simulator, f"test-{secrets.token_hex(4)}")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}}
    assert client("POST", "/api/v1/namespaces", namespace)[0] == 201
    wait_for(lambda: client("GET", f"{client.core}/serviceaccounts/default")[0] == 200)
    wait_for(lambda: client("GET", f"{client.core}/configmaps/kube-root-ca.crt")[0] == 200)
    yield client
    client.http.close()
