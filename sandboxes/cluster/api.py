"""One cluster's API over HTTP, with every failure translated at this border.

The official client brings credentials, TLS and the connection pool; requests are
made directly, because objects here are plain data. Nothing is retried: callers
reconcile, and `retry_after` tells them when.
"""

import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
import yaml
from kubernetes import client as kube
from kubernetes import config as kube_config

from sandboxes.cluster.kinds import Kind
from sandboxes.cluster.spec import FIELD_MANAGER, KubeObject
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
PAGE_SIZE: Final = 500
_LISTING_TRIES: Final = 3
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_BUSY: Final = frozenset((408, 425, 429))
# Refusals that pass by themselves: a lost optimistic lock, a quota not computed yet.
_PASSING: Final = ("object has been modified", "status unknown for quota")
# The loader lets most mistakes through to where they first hurt.
_BAD_KUBECONFIG: Final = (
    *(kube_config.ConfigException, yaml.YAMLError, OSError),
    *(AttributeError, KeyError, TypeError, ValueError),
)


class StatusRefusedError(ClusterRefusedError):
    """A refusal with its HTTP status, for the few callers that tell them apart."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The requests that the driver needs, and nothing that it does not."""

    def __init__(self, name: str, client: kube.ApiClient) -> None:
        self._name = name
        self._client = client

    @classmethod
    def connect(cls, *, name: str, kubeconfig: str, context: str | None) -> "Api":
        """Read the kubeconfig; no request is made. InvalidInputError if it is unusable."""
        configuration = kube.Configuration()
        try:
            kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig, context, configuration, persist_config=False
            )
        except _BAD_KUBECONFIG as error:
            raise InvalidInputError(f"Cluster {name}: the kubeconfig cannot be used: {error}") from error
        configuration.retries = False
        if _is_loopback(configuration.host):
            configuration.proxy = None
        client = kube.ApiClient(configuration)
        client.user_agent = FIELD_MANAGER
        return cls(name, client)

    def close(self) -> None:
        """Give the connections back."""
        self._client.rest_client.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> KubeObject:
        """One object; StatusRefusedError with status 404 if it is not there."""
        return self._call("GET", path, query)

    def find(self, path: str) -> KubeObject | None:
        """One object, or None if it (or its namespace) is not there."""
        try:
            return self._call("GET", path)
        except StatusRefusedError as error:
            if error.status == 404:
                return None
            raise

    def create(self, path: str, item: KubeObject) -> KubeObject:
        """Create; StatusRefusedError with status 409 if the name is taken."""
        return self._call("POST", path, {"fieldManager": FIELD_MANAGER}, item)

    def apply(self, path: str, item: KubeObject) -> KubeObject:
        """Server-side apply as our manager, taking fields that others hold."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._call("PATCH", path, query, json.dumps(item), _APPLY_PATCH)

    def delete(
        self, path: str, options: Mapping[str, Any] | None = None, selector: str | None = None
    ) -> None:
        """Delete one object, or a collection by label. What is not there counts as deleted."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **(options or {})}
        try:
            self._call("DELETE", path, {"labelSelector": selector} if selector else None, body)
        except StatusRefusedError as error:
            if error.status != 404:
                raise

    def list(
        self, kind: Kind, namespace: str | None = None, selector: str | None = None
    ) -> Iterator[KubeObject]:
        """All objects, page by page. A listing that expires half-way starts over.

        After a restart objects already seen are left out, so each comes once.
        """
        seen: set[str] = set()
        for attempt in range(1, _LISTING_TRIES + 1):
            try:
                for item in self._pages(kind.collection(namespace), selector):
                    if item["metadata"]["uid"] not in seen:
                        seen.add(item["metadata"]["uid"])
                        yield item
            except StatusRefusedError as error:
                if error.status != 410:
                    raise
                if attempt == _LISTING_TRIES:
                    raise ClusterUnavailableError(str(error), retry_after=5) from error
            else:
                return

    def _pages(self, path: str, selector: str | None) -> Iterator[KubeObject]:
        query = {"limit": str(PAGE_SIZE)}
        if selector:
            query["labelSelector"] = selector
        while True:
            page = self._call("GET", path, query)
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubeObject | str | None = None,
        content_type: str = "application/json",
    ) -> KubeObject:
        """One request. ClusterUnavailableError or StatusRefusedError, never a library's error."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            _, url, headers, _, _ = self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(
                method, url, headers, body, _request_timeout=(CONNECT_SECONDS, READ_SECONDS)
            )
            data: bytes = response.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, kube.ApiException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterUnavailableError(f"Cluster {self._name} does not answer: {reason}") from error
        if response.status >= 400:
            raise self._error(f"{method} {path}", response.status, data, response.headers)
        return self._decoded(data)

    def _decoded(self, data: bytes) -> KubeObject:
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise ClusterUnavailableError(f"Cluster {self._name} answered no JSON.") from error
        if not isinstance(answer, dict):
            raise ClusterUnavailableError(f"Cluster {self._name} answered no object.")
        return answer

    def _error(
        self, request: str, status: int, data: bytes, headers: Mapping[str, str]
    ) -> ClusterUnavailableError | StatusRefusedError:
        """The error of an answer; `message` of its Status object, if it sent one."""
        try:
            message = str(json.loads(data)["message"])[:500]
        except (ValueError, KeyError, TypeError):
            message = data[:200].decode(errors="replace").strip()
        text = f"Cluster {self._name} refused {request} ({status}): {message}"
        if status >= 500 or status in _BUSY:
            return ClusterUnavailableError(text, retry_after=_seconds(headers.get("Retry-After")))
        if status in (403, 409) and any(passing in message for passing in _PASSING):
            return ClusterUnavailableError(text, retry_after=1)
        return StatusRefusedError(text, status)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3); API servers send no dates."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None


def _is_loopback(host: str) -> bool:
    """A proxy from the environment must not see requests to this machine."""
    name = urlsplit(host).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
