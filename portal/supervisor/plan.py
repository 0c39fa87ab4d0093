"""Which processes Petridish is made of, and how each shows that it is at work."""

import http.client
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from portal.env import Environment
from portal.supervisor.children import Spec
from portal.supervisor.preflight import answering


def simulator(environment: Environment, environ: Mapping[str, str], port: int) -> Spec:
    """The simulated cluster. The port is chosen once, so that it comes back where it was."""
    data = environment.data_dir / "cluster"
    return Spec(
        name="simulator",
        command=["sandboxes.cluster.simulator", "--port", str(port), "--data", str(data)],
        environ=environ,
        log=_log(environment, "simulator"),
        ready=partial(_answers, "127.0.0.1", port, "/version"),
    )


def services(environment: Environment, environ: Mapping[str, str]) -> list[Spec]:
    return [
        _web(environment, environ),
        _index(environment, environ),
        _screening(environment, environ),
        *([_egress(environment, environ)] if environment.engine.egress_proxy_port else []),
        _queue(environment, environ, "worker"),
        _queue(environment, environ, "beat"),
        _watcher(environment, environ),
    ]


def _web(environment: Environment, environ: Mapping[str, str]) -> Spec:
    listen = ["--host", environment.bind, "--port", str(environment.port)]
    # Only behind a proxy are these headers the proxy's; FORWARDED_ALLOW_IPS names it (uvicorn's own setting).
    listen.append("--proxy-headers" if environment.production else "--no-proxy-headers")
    quiet = ["--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "2"]
    return Spec(
        name="web",
        command=["uvicorn", "portal.asgi:application", "--lifespan", "off", *listen, *quiet],
        environ=environ,
        log=_log(environment, "web"),
        ready=partial(
            _answers, answering(environment.bind), environment.port, "/readyz", _as_visitor(environment)
        ),
    )


def _index(environment: Environment, environ: Mapping[str, str]) -> Spec:
    return Spec(
        name="index",
        command=["sandboxes.index"],
        environ=environ,
        log=_log(environment, "index"),
        ready=partial(_answers, answering(environment.index_bind), environment.index_port, "/readyz"),
    )


def _screening(environment: Environment, environ: Mapping[str, str]) -> Spec:
    """Beside the index, on its folder: what it stored is scanned before it is given."""
    ready_file = environment.data_dir / "run" / "screening.ready"
    return Spec(
        name="screening",
        command=["sandboxes.index.screening", str(ready_file)],
        environ=environ,
        log=_log(environment, "screening"),
        ready=ready_file.exists,
        ready_file=ready_file,
    )


def _egress(environment: Environment, environ: Mapping[str, str]) -> Spec:
    """The way out by host name, beside the index and on its address."""
    port = environment.engine.egress_proxy_port
    return Spec(
        name="egress",
        command=["sandboxes.index.egress"],
        environ=environ,
        log=_log(environment, "egress"),
        ready=partial(_answers, answering(environment.index_bind), port, "/readyz"),
    )


def _queue(environment: Environment, environ: Mapping[str, str], name: str) -> Spec:
    ready_file = environment.data_dir / "run" / f"{name}.ready"
    return Spec(
        name=name,
        command=["portal.supervisor.queue", name, str(ready_file)],
        environ={**environ, "CELERY_SKIP_CHECKS": "1"},  # they would import every page; the web process does
        log=_log(environment, name),
        ready=ready_file.exists,
        ready_file=ready_file,
    )


def _watcher(environment: Environment, environ: Mapping[str, str]) -> Spec:
    """Sees changes in clusters at once; without it they are seen with the next listing."""
    ready_file = environment.data_dir / "run" / "watcher.ready"
    return Spec(
        name="watcher",
        command=["sandboxes.lifecycle.watcher", str(ready_file)],
        environ=environ,
        log=_log(environment, "watcher"),
        ready=ready_file.exists,
        ready_file=ready_file,
    )


def _log(environment: Environment, name: str) -> Path:
    return environment.data_dir / "logs" / f"{name}.log"


def _as_visitor(environment: Environment) -> dict[str, str]:
    """In production the portal answers under its own names only, and over TLS."""
    if not environment.production:
        return {}
    return {"Host": environment.allowed_hosts[0].lstrip("."), "X-Forwarded-Proto": "https"}


def _answers(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
