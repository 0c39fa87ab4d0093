"""A kubeconfig that somebody typed into a form: data, and nothing that acts.

A kubeconfig may name programs to run (`exec`, `auth-provider`) and files to read
(`tokenFile`, `certificate-authority`, …). From our own disk that is the operator's
business; in a text that an admin of the portal sends, it would be a way onto this
machine. So only fields known to be plain data pass, and only the chosen context is
kept: what is not used need not be stored.
"""

from typing import Any, Final

import yaml

from sandboxes.errors import InvalidInputError

type Json = dict[str, Any]

_MAX_BYTES: Final = 256 * 1024
_PLAIN: Final[dict[str, frozenset[str]]] = {
    "cluster": frozenset(
        (
            *("server", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name"),
            *("proxy-url", "disable-compression", "extensions"),
        )
    ),
    "user": frozenset(
        ("token", "client-certificate-data", "client-key-data", "username", "password", "extensions")
    ),
    "context": frozenset(("cluster", "user", "namespace", "extensions")),
}
_INSTEAD: Final = {
    "exec": "it would run a program here",
    "auth-provider": "it would run a program here",
    "tokenFile": "it names a file of this machine; use token",
    "certificate-authority": "it names a file of this machine; use certificate-authority-data",
    "client-certificate": "it names a file of this machine; use client-certificate-data",
    "client-key": "it names a file of this machine; use client-key-data",
}


def inline(text: str, context: str | None) -> Json:
    """The chosen context (the current one by default) of a kubeconfig, as one of its own.

    InvalidInputError if it is none, or holds anything but inline data. The message
    never quotes a value: those are credentials.
    """
    config = _parsed(text)
    chosen = _text(context or config.get("current-context"), "current-context")
    pair = _plain(_named(config, "contexts", chosen), "context")
    cluster, user = (_text(pair.get(part), f"the context's {part}") for part in ("cluster", "user"))
    server = _plain(_named(config, "clusters", cluster), "cluster")
    if not str(server.get("server", "")).startswith(("https://", "http://")):
        raise InvalidInputError("The kubeconfig's server must be an https:// address.")
    account = _plain(_named(config, "users", user), "user")
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": user, "user": account}],
        "contexts": [{"name": chosen, "context": pair}],
        "current-context": chosen,
    }


def _parsed(text: str) -> Json:
    if len(text.encode(errors="replace")) > _MAX_BYTES:
        raise InvalidInputError(f"The kubeconfig is larger than {_MAX_BYTES // 1024} KiB.")
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError("The kubeconfig is not YAML.") from error
    if not isinstance(config, dict):
        raise InvalidInputError("The kubeconfig must be a mapping with clusters, users and contexts.")
    return config


def _named(config: Json, section: str, name: str) -> Json:
    """The body of `name` in a list of {name, cluster|user|context}."""
    entries = config.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            body = entry.get(section.removesuffix("s"))
            return body if isinstance(body, dict) else {}
    raise InvalidInputError(f"The kubeconfig has no {name!r} among its {section}.")


def _plain(body: Json, what: str) -> Json:
    """Those fields that say something, if all of them are known to be harmless."""
    kept = {field: value for field, value in body.items() if value not in (None, "", [], {})}
    for field in kept:
        if field not in _PLAIN[what]:
            why = _INSTEAD.get(str(field), "only inline data is taken")
            raise InvalidInputError(f"The kubeconfig's {what} has {str(field)[:40]!r}: {why}.")
    for field, value in kept.items():
        if field != "extensions" and not isinstance(value, (str, bool)):
            raise InvalidInputError(f"The kubeconfig's {what} has a {field!r} that is no text.")
    kept.pop("extensions", None)  # notes of other programs
    return kept


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"The kubeconfig does not say {what}.")
    return value
