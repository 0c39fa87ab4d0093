"""Which programs install packages, by how they begin their User-Agent. Everything else downloads for itself. Pure."""

import re
from typing import Final

# By the first product of the User-Agent, as `sandboxes.index.client` reads it: "pip 26.3", "uv 0.13.9".
# "bandersnatch" and the like mirror and do not install, so they are not here.
INSTALLERS: Final = ("pip", "uv", "poetry", "pdm", "pipenv", "npm", "pnpm", "yarn")

# Part of two partial indexes (`usage.models.Fetch`): whoever changes the table makes a migration.
PATTERN: Final = rf"^({'|'.join(INSTALLERS)}) "

# What programs fetch with. It says how something was fetched, and not for whom.
_LIBRARIES: Final = frozenset(
    (
        *("python-requests", "requests", "python-urllib", "python-urllib3", "urllib3", "python-httpx"),
        *("httpx", "python", "aiohttp", "curl", "wget", "node", "node-fetch", "undici", "axios", "got"),
        "go-http-client",
    )
)
_SEPARATORS: Final = re.compile(r"[-_.]+")
_INSTALLER: Final = re.compile(PATTERN)


def is_installer(client: str) -> bool:
    """Of "pip 26.3" and the like; a client without a name is none."""
    return _INSTALLER.match(client) is not None


def named_project(client: str) -> str:
    """The project that a client may be part of, by its name, normalised (PEP 503); "" for what names none."""
    name = _SEPARATORS.sub("-", client.partition(" ")[0]).lower()
    return "" if is_installer(client) or name in _LIBRARIES else name
