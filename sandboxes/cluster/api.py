"""One cluster's API over HTTP, with every failure translated at this border.

The official client brings credentials, TLS and the connection pool; requests are
made directly, because objects here are plain data. Nothing is retried: callers
reconcile, and `retry_after` tells them when. Before every request the pacer is
asked, which may let it wait or send it away.
"""

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Self
from urllib.parse import urlsplit

import urllib3
import yaml
from kubernetes import client as kube
from kubernetes import config as kube_config

from sandboxes.cluster.executing import HandshakeError, output
from sandboxes.cluster.kinds import Kind
from sandboxes.cluster.kubeconfig import inline
from sandboxes.cluster.pacing import Pacer, moment, retry_after, unhurried
from sandboxes.cluster.spec import FIELD_MANAGER, KubeObject
from sandboxes.errors import ClusterRefusedError, ClusterUnavailableError, InvalidInputError

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
PAGE_SIZE: Final = 500
_CONNECTIONS: Final = 32  # kept open: more threads than these would begin each request with a handshake
LISTING_TRIES: Final = 3
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
# Only metadata, which is all that most lists need: no Secret's content comes along (API concepts,
# "Metadata-only fetches"). A server that cannot do it sends whole objects.
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_LOG_BYTES: Final = 64 * 1024
_WATCH_MARGIN: Final = 15.0  # seconds: the server ends a watch by itself a little later than asked
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


class ListingExpiredError(ClusterUnavailableError):
    """A paged listing, or a watch, is too old to go on (410): start over."""


class Api:
    """The requests that the driver needs, and nothing that it does not."""

    def __init__(self, name: str, client: kube.ApiClient, pacer: Pacer = unhurried) -> None:
        self._name = name
        self._client = client
        self._pacer = pacer
        self._date = ""  # of the newest answer

    @classmethod
    def connect(cls, *, name: str, kubeconfig: str, context: str | None, pacer: Pacer | None = None) -> Self:
        """By a kubeconfig of this machine; no request is made. InvalidInputError if it is unusable."""
        configuration = kube.Configuration()
        with _reading(name):
            kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig, context, configuration, persist_config=False
            )
        return cls._with(name, configuration, pacer)

    @classmethod
    def connect_text(cls, *, name: str, text: str, context: str | None, pacer: Pacer | None = None) -> Self:
        """By a kubeconfig that an admin gave as text, which must be nothing but inline data."""
        configuration, config = kube.Configuration(), inline(text, context)
        with _reading(name, quoting=False):
            kube_config.load_kube_config_from_dict(  # type: ignore[no-untyped-call]
                config, None, configuration, persist_config=False
            )
        return cls._with(name, configuration, pacer)

    @classmethod
    def connect_in_cluster(cls, *, name: str, pacer: Pacer | None = None) -> Self:
        """As the pod's own service account, whose token is read again as it changes."""
        configuration = kube.Configuration()
        with _reading(name):
            kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        return cls._with(name, configuration, pacer)

    @classmethod
    def _with(cls, name: str, configuration: kube.Configuration, pacer: Pacer | None) -> Self:
        configuration.retries = False
        configuration.connection_pool_maxsize = _CONNECTIONS
        if _is_loopback(configuration.host):
            configuration.proxy = None
        client = kube.ApiClient(configuration)
        client.user_agent = FIELD_MANAGER
        return cls(name, client, pacer or unhurried)

    def close(self) -> None:
        """Give the connections back."""
        self._client.rest_client.close()

    def now(self) -> datetime:
        """By the server's own clock, as its newest answer said (Date, RFC 9110, 6.6.1).

        What the cluster wrote down is compared with that: a worker's clock may be wrong.
        """
        return moment(self._date) or datetime.now(UTC)

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, seconds: float | None = None
    ) -> KubeObject:
        """One object; StatusRefusedError with status 404 if it is not there. `seconds`: how long it is waited for."""
        with self._answer("GET", path, query, seconds=seconds) as answer:
            return self._decoded(answer.data)

    def find(self, path: str) -> KubeObject | None:
        """One object, or None if it (or its namespace) is not there."""
        try:
            return self._call("GET", path)
        except StatusRefusedError as error:
            if error.status == 404:
                return None
            raise

    def log(self, path: str, *, container: str, lines: int) -> str:
        """The end of a container's log."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(_LOG_BYTES)}
        return self._request("GET", f"{path}/log", query, accept="*/*").decode(errors="replace")

    def whole_log(
        self, path: str, *, container: str, previous: bool, lines: int, most: int, seconds: float
    ) -> bytes:
        """The last so many lines of a container's log with their times, `most` bytes of them, as they are.

        `seconds` is for all of it, and for each piece that the server sends.
        """
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(most)}
        query |= {"timestamps": "true", "previous": "true" if previous else "false"}
        data, until = bytearray(), monotonic() + seconds
        with self._answer("GET", f"{path}/log", query, accept="*/*", seconds=seconds) as answer:
            for chunk in answer.stream():
                data += chunk
                if len(data) >= most:
                    break
                if monotonic() > until:
                    raise ClusterUnavailableError(f"Cluster {self._name} did not send the log in time.")
        return bytes(data[:most])

    def execute(self, path: str, *, container: str, command: Sequence[str], seconds: float, most: int) -> str:
        """What a command in a container prints: ClusterRefusedError if it fails, or prints or takes too much."""
        self._pacer()
        query = [("container", container), ("stdout", "true"), *(("command", part) for part in command)]
        _, url, headers, _, _ = self._client.param_serialize(
            "GET", path, query_params=query, header_params={}, auth_settings=["BearerToken"]
        )
        try:
            return output(self._client.configuration, url, headers, seconds=seconds, most=most)
        except HandshakeError as error:
            raise self._error(f"GET {path}", error.status, error.body, {}) from error

    def create(self, path: str, item: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create; StatusRefusedError with status 409 if the name is taken.

        With `dry_run` the server does everything but store it, and answers what it would have stored.
        """
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self._call("POST", path, query, item)

    def merge(self, path: str, patch: KubeObject) -> KubeObject:
        """JSON merge patch (RFC 7396); a UID in its metadata is a precondition."""
        return self._call("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, _MERGE_PATCH)

    def apply(self, path: str, item: KubeObject) -> KubeObject:
        """Server-side apply as our manager, taking fields that others hold.

        Apply refuses a field that its schema does not know. Field validation would parse all of it
        once more, only to say so in a warning first: a fifth of what an apply costs the server.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Ignore"}
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
        self, kind: Kind, namespace: str | None = None, selector: str | None = None, *, partial: bool = False
    ) -> Iterator[KubeObject]:
        """All objects, page by page. A listing that expires half-way starts over.

        After a restart objects already seen are left out, so each comes once.
        """
        seen: set[str] = set()
        for attempt in range(1, LISTING_TRIES + 1):
            try:
                for item in self.pages(kind, namespace, selector, partial=partial):
                    if item["metadata"]["uid"] not in seen:
                        seen.add(item["metadata"]["uid"])
                        yield item
            except ListingExpiredError:
                if attempt == LISTING_TRIES:
                    raise
            else:
                return

    def pages(
        self, kind: Kind, namespace: str | None = None, selector: str | None = None, *, partial: bool = False
    ) -> Iterator[KubeObject]:
        """All objects, holding one page at a time; ListingExpiredError if the listing does half-way."""
        query = {"limit": str(PAGE_SIZE)}
        if selector:
            query["labelSelector"] = selector
        accept = _METADATA_LIST if partial else _JSON
        while True:
            page = self._call("GET", kind.collection(namespace), query, accept=accept)
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def version(self, kind: Kind) -> str:
        """The resource version of now: where a watch of this kind can start."""
        page = self._call("GET", kind.collection(), {"limit": "1"}, accept=_METADATA_LIST)
        return str(page["metadata"]["resourceVersion"])

    def watch(self, kind: Kind, version: str, seconds: float) -> Iterator[tuple[str, KubeObject]]:
        """(ADDED | MODIFIED | DELETED | BOOKMARK, metadata of the object) for so many seconds.

        ListingExpiredError when `version` is too old, ClusterUnavailableError when the
        connection breaks. Nothing missed meanwhile is made up for: see `version`.
        """
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        path = kind.collection()
        with self._answer("GET", path, query, accept=_METADATA, seconds=seconds + _WATCH_MARGIN) as answer:
            for line in _lines(answer):
                event = self._decoded(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    code = int(status.get("code") or 500)
                    raise self._error(f"GET {path}", code, json.dumps(status).encode(), {})
                yield str(event["type"]), event["object"]

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubeObject | str | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> KubeObject:
        """One request for one object, or one list of them."""
        return self._decoded(self._request(method, path, query, body, content_type, accept))

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubeObject | str | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> bytes:
        with self._answer(method, path, query, body, content_type, accept) as answer:
            return answer.data

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: KubeObject | str | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        seconds: float | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer that is no refusal, while it is read.

        ClusterUnavailableError or StatusRefusedError, never a library's error; what
        the pacer raises goes up as it is.
        """
        self._pacer()
        given = {"Accept": accept, "Content-Type": content_type}
        answer: urllib3.BaseHTTPResponse | None = None
        try:
            _, url, headers, _, _ = self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=given,
                auth_settings=["BearerToken"],
            )
            patience = (CONNECT_SECONDS, READ_SECONDS if seconds is None else seconds)
            response = self._client.call_api(method, url, headers, body, _request_timeout=patience)
            answer = response.response
            self._date = response.headers.get("Date", "")
            if response.status >= 400:
                raise self._error(f"{method} {path}", response.status, answer.data, response.headers)
            yield answer
        except (urllib3.exceptions.HTTPError, kube.ApiException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterUnavailableError(f"Cluster {self._name} does not answer: {reason}") from error
        finally:
            if answer is not None and not answer.closed:
                answer.close()  # an answer read to its end gave its connection back already

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
            wait = retry_after(headers.get("Retry-After"), headers.get("Date"))
            return ClusterUnavailableError(text, retry_after=wait)
        if status == 410:
            return ListingExpiredError(text, retry_after=5)
        if status in (403, 409) and any(passing in message for passing in _PASSING):
            return ClusterUnavailableError(text, retry_after=1)
        return StatusRefusedError(text, status)


@contextmanager
def _reading(name: str, *, quoting: bool = True) -> Iterator[None]:
    """Whatever is wrong with a kubeconfig; without quoting it if it may hold somebody's secrets."""
    try:
        yield
    except _BAD_KUBECONFIG as error:
        why = str(error) if quoting else type(error).__name__
        raise InvalidInputError(f"Cluster {name}: the kubeconfig cannot be used: {why}") from error


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Lines of a streamed answer, each as soon as it is there."""
    rest = b""
    for chunk in answer.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _is_loopback(host: str) -> bool:
    """A proxy from the environment must not see requests to this machine."""
    name = urlsplit(host).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
