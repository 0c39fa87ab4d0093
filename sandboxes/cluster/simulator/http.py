"""The HTTP surface: paths and verbs of the Kubernetes API, onto `Objects`.

One answer for every path, and no router, because paths of this API are data (group,
version, resource), not code. Handlers never await between reading and writing: each request is atomic.
"""

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sandboxes.cluster.simulator import discovery, logs, reviews
from sandboxes.cluster.simulator.errors import (
    ApiError,
    bad_request,
    method_not_allowed,
    no_such_path,
    unauthorized,
    unsupported_media_type,
)
from sandboxes.cluster.simulator.objects import Listing, Objects
from sandboxes.cluster.simulator.resources import (
    BY_PATH,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    Resource,
)
from sandboxes.cluster.simulator.selectors import equalities, parse_fields, parse_labels
from sandboxes.cluster.simulator.watch import Wanted, Watches, metadata_only

type Json = dict[str, Any]
type Answer = Callable[["Call"], Response]

_HEALTH: Final = frozenset((("healthz",), ("livez",), ("readyz",)))
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_PARTIAL: Final = "as=PartialObjectMetadata"  # also the beginning of …MetadataList
_WATCH_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one resource."""

    resource: Resource
    namespace: str
    name: str
    part: str
    query: dict[str, str]
    content_type: str
    agent: str
    partial: bool
    body: Json

    @property
    def manager(self) -> str:
        """Who owns the written fields; like the real server, the client's name if it does not say."""
        return self.query.get("fieldManager") or self.agent.partition("/")[0]


def application(objects: Objects, watches: Watches, token: str) -> ASGIApp:
    """The whole API. Everything but health and version needs the bearer token."""
    api = _Api(objects, watches)

    async def serve(request: Request) -> Response:
        path = tuple(part for part in request.url.path.split("/") if part)
        try:
            if path in _HEALTH:
                return PlainTextResponse("ok")
            given = request.headers.get("authorization", "").encode()
            if path != ("version",) and not hmac.compare_digest(given, f"Bearer {token}".encode()):
                raise unauthorized()
            return await _dispatch(api, request, path)
        except ApiError as error:
            return JSONResponse(error.status(), error.code)
        except (
            ClientDisconnect
        ):  # killed in the middle of its request: nothing is done, and nobody is there to tell
            return Response(status_code=400)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (await serve(Request(scope, receive)))(scope, receive, send)

    return answer


async def _dispatch(api: "_Api", request: Request, path: tuple[str, ...]) -> Response:
    if request.method == "GET" and (found := discovery.document(path)) is not None:
        return JSONResponse(found)
    body = await _body(request)
    if request.method == "POST" and (found := reviews.answer(api.objects.store, path, body)) is not None:
        return JSONResponse(found, 201)
    call = _call(request, path, body)
    if request.method == "GET":
        return api.answer("GET", call)
    with api.objects.store.transaction(dry_run=call.query.get("dryRun") == "All"):
        return api.answer(request.method, call)


async def _body(request: Request) -> Json:
    """The body as an object; {} if there is none. Kubernetes takes YAML as well as JSON."""
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        try:
            body = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise bad_request(f"couldn't read the body: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


def _call(request: Request, path: tuple[str, ...], body: Json) -> Call:
    """/api/v1/… or /apis/GROUP/VERSION/…, with or without /namespaces/NAME/."""
    if path[:2] == ("api", "v1"):
        group, version, rest = "", "v1", path[2:]
    elif path[:1] == ("apis",) and len(path) > 3:
        (group, version), rest = path[1:3], path[3:]
    else:
        raise no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0]))
    # Only lists and watches may span namespaces; only namespaced kinds may name one.
    if resource is None or len(rest) > 3 or bool(namespace) > resource.namespaced:
        raise no_such_path()
    name, part = (*rest[1:], "", "")[:2]
    if resource.namespaced and not namespace and (name or request.method != "GET"):
        raise no_such_path() if name else method_not_allowed()
    return Call(
        resource=resource,
        namespace=namespace,
        name=name,
        part=part,
        query=dict(request.query_params),
        content_type=request.headers.get("content-type", "").partition(";")[0].strip(),
        agent=request.headers.get("user-agent", ""),
        partial=_PARTIAL in request.headers.get("accept", ""),
        body=body,
    )


class _Api:
    """Verbs."""

    def __init__(self, objects: Objects, watches: Watches) -> None:
        self.objects = objects
        self._watches = watches

    def answer(self, method: str, call: Call) -> Response:
        """The answer to a request whose path is known."""
        if call.part:
            return self._subresource(method, call)
        verbs: dict[tuple[str, bool], Answer] = {
            ("GET", True): self._get,
            ("GET", False): self._list,
            ("POST", False): self._create,
            ("PUT", True): self._replace,
            ("PATCH", True): self._patch,
            ("DELETE", True): self._delete,
            ("DELETE", False): self._delete_collection,
        }
        verb = verbs.get((method, bool(call.name)))
        if verb is None:
            raise method_not_allowed()
        return verb(call)

    def _get(self, call: Call) -> Response:
        item = self.objects.get(call.resource, call.namespace, call.name).data
        return JSONResponse(metadata_only(item) if call.partial else item)

    def _list(self, call: Call) -> Response:
        selector = call.query.get("labelSelector", "")
        labels, namespace = parse_labels(selector), call.namespace or None
        fields = parse_fields(call.query.get("fieldSelector", ""))
        if call.query.get("watch") in ("1", "true"):
            wanted = Wanted(
                call.resource,
                namespace,
                labels,
                fields,
                call.query.get("resourceVersion", ""),
                float(call.query.get("timeoutSeconds") or _WATCH_SECONDS),
                call.query.get("allowWatchBookmarks") in ("1", "true"),
                call.partial,
            )
            return StreamingResponse(self._watches.stream(wanted), media_type="application/json")
        by_field = fields if call.query.get("fieldSelector") else None
        listing = Listing(call.resource, namespace, labels, equalities(selector), by_field, call.partial)
        page = self.objects.page(
            listing, limit=_number(call.query, "limit"), token=call.query.get("continue", "")
        )
        return Response(page, media_type="application/json")

    def _create(self, call: Call) -> Response:
        created = self.objects.create(call.resource, call.namespace, call.body, manager=call.manager)
        return JSONResponse(created, 201)

    def _replace(self, call: Call) -> Response:
        where = (call.resource, call.namespace, call.name)
        return JSONResponse(self.objects.replace(*where, call.body, manager=call.manager))

    def _patch(self, call: Call) -> Response:
        where = (call.resource, call.namespace, call.name)
        if call.content_type == _APPLY:
            new = self.objects.store.get(*where) is None
            manager, force = call.query.get("fieldManager", ""), call.query.get("force") in ("1", "true")
            applied = self.objects.apply(*where, call.body, manager=manager, force=force)
            return JSONResponse(applied, 201 if new else 200)
        if call.content_type not in (_MERGE, _STRATEGIC):
            raise unsupported_media_type(call.content_type)
        strategic = call.content_type == _STRATEGIC
        return JSONResponse(self.objects.patch(*where, call.body, manager=call.manager, strategic=strategic))

    def _delete(self, call: Call) -> Response:
        options = _options(call)
        item, gone = self.objects.delete(call.resource, call.namespace, call.name, options)
        if not gone or call.resource is PODS:
            return JSONResponse(item)
        details = {"name": call.name, "kind": call.resource.plural, "uid": item["metadata"]["uid"]}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return JSONResponse({**status, "details": details})

    def _delete_collection(self, call: Call) -> Response:
        if call.resource is NAMESPACES:
            raise method_not_allowed()
        labels = parse_labels(call.query.get("labelSelector", ""))
        fields = parse_fields(call.query.get("fieldSelector", ""))
        items = self.objects.delete_collection(
            call.resource,
            call.namespace,
            keep=lambda item: labels(item["metadata"].get("labels") or {}) and fields(item),
            options=_options(call),
        )
        head = {"kind": f"{call.resource.kind}List", "apiVersion": call.resource.api_version}
        return JSONResponse({**head, "metadata": {}, "items": items})

    # ---- subresources

    def _subresource(self, method: str, call: Call) -> Response:
        where = (call.resource, call.namespace, call.name)
        if call.part == "status" and call.resource.status:
            return self._status(method, call)
        if call.part == "finalize" and call.resource is NAMESPACES and method == "PUT":
            spec: Json = call.body.get("spec") or {}
            finalizers = spec.get("finalizers") or []
            row = self.objects.get(*where)
            return JSONResponse(
                self.objects.change(row, lambda item: item["spec"].update(finalizers=finalizers))
            )
        if call.part == "token" and call.resource is SERVICE_ACCOUNTS and method == "POST":
            self.objects.get(*where)
            return JSONResponse(_token(call), 201)
        if call.part == "log" and call.resource is PODS and method == "GET":
            lines, most = (_number(call.query, name) for name in ("tailLines", "limitBytes"))
            pod = self.objects.get(*where).data
            return PlainTextResponse(logs.text(pod, call.query, lines, most))
        if call.part == "exec" and call.resource is PODS and method == "GET":
            self.objects.get(*where)
            raise bad_request("this pod is simulated: nothing runs in it")
        raise no_such_path()

    def _status(self, method: str, call: Call) -> Response:
        where = (call.resource, call.namespace, call.name)
        if method == "GET":
            return JSONResponse(self.objects.get(*where).data)
        given = call.body.get("status") or {}

        def change(status: Json) -> None:
            if method == "PUT":
                status.clear()
            status.update(given)

        return JSONResponse(self.objects.change_status(*where, change))


def _options(call: Call) -> Json:
    """DeleteOptions, from the body or from the query."""
    options = dict(call.body)
    if "propagationPolicy" in call.query:
        options.setdefault("propagationPolicy", call.query["propagationPolicy"])
    if "gracePeriodSeconds" in call.query:
        options.setdefault("gracePeriodSeconds", _number(call.query, "gracePeriodSeconds"))
    return options


def _number(query: dict[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f"{name} must be a number")
    return int(text)


def _token(call: Call) -> Json:
    """A TokenRequest's answer (authentication.k8s.io/v1). The token opens nothing here."""
    seconds = int((call.body.get("spec") or {}).get("expirationSeconds") or 3600)
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.name, "namespace": call.namespace},
        "spec": {**(call.body.get("spec") or {}), "expirationSeconds": seconds},
        "status": {
            "token": secrets.token_urlsafe(32),
            "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
