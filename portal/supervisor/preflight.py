"""What must hold before anything is started. Every fault is one sentence that says what to do."""

import errno
import socket
from collections.abc import Mapping
from itertools import combinations

from portal.env import Environment
from sandboxes.errors import PermanentError, PetridishError


def ports(environment: Environment) -> None:
    """PORT, INDEX_PORT and EGRESS_PROXY_PORT differ, are free, and on addresses of this machine."""
    named = [
        ("PORT", environment.port, "BIND", environment.bind),
        ("INDEX_PORT", environment.index_port, "INDEX_BIND", environment.index_bind),
    ]
    if environment.engine.egress_proxy_port:
        proxy = environment.engine.egress_proxy_port
        named.append(("EGRESS_PROXY_PORT", proxy, "INDEX_BIND", environment.index_bind))
    for (one, port, *_), (other, same, *_) in combinations(named, 2):
        if port == same:
            raise PermanentError(f"{one} and {other} are both {port}; set one of them.")
    for name, port, bind_name, host in named:
        _port_is_free(name, port, bind_name, host)


def cluster(environment: Environment) -> str:
    """Which cluster is used, in words for the terminal; a real one has answered."""
    # The Kubernetes client takes a second to import: only who names a cluster waits for it.
    from sandboxes.cluster.driver import connect

    name = environment.cluster_name
    try:
        info = connect(name=name, kubeconfig=environment.kubeconfig, context=environment.kube_context).info()
    except PetridishError as error:
        raise PermanentError(f"The cluster {name} (KUBE_CONTEXT) cannot be used: {error}") from error
    return f"Cluster: {name}, Kubernetes {info.version}."


def simulated(environ: Mapping[str, str]) -> str:
    if environ.get("KUBECONFIG"):
        return "Cluster: simulated; KUBECONFIG is set, but a cluster is used only when KUBE_CONTEXT names it."
    return "Cluster: simulated; set KUBECONFIG and KUBE_CONTEXT for a real one."


def answering(host: str) -> str:
    """The address at which a server bound to `host` is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound


def free_port() -> int:
    """A port nobody uses now. Somebody could take it before we do: then the child says so in its log."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _port_is_free(name: str, port: int, bind_name: str, host: str) -> None:
    in_use = PermanentError(f"{name} {port} is in use; stop what uses it or set {name}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            # As the servers do: without it, connections closed a minute ago would count as use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        with socket.create_connection((answering(host), port), timeout=0.3):
            raise in_use  # macOS lets two bind; who answers is there already
    except (TimeoutError, ConnectionRefusedError):
        return
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise in_use from error
        if error.errno == errno.EACCES:
            raise PermanentError(
                f"{name} {port} needs more rights than you have; set {name} above 1023."
            ) from error
        raise PermanentError(
            f"{bind_name} is {host!r}, no address of this machine; set {bind_name}."
        ) from error
