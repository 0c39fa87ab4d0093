"""npm's settings for one sandbox: the same index as Python's, with the same credentials.

npm takes the registry from the environment, but credentials from a file alone, in a line that names the host
they are for: in a registry's own URL they would end up in lock files.
"""

import base64
from urllib.parse import SplitResult, unquote, urlsplit


def registry(index_url: str) -> str:
    """`http://HOST:PORT/npm/`, without credentials."""
    parts = urlsplit(index_url)
    return f"{parts.scheme}:{_place(parts)}"


def npmrc(index_url: str) -> str:
    """The line with the credentials of `http://NAME:TOKEN@HOST:PORT/simple/`; "" when it has none."""
    parts = urlsplit(index_url)
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"{_place(parts)}:_auth={base64.b64encode(login.encode()).decode()}\n"


def _place(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/").removesuffix("simple").rstrip("/")
    return f"//{host}{path}/npm/"
