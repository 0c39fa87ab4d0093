"""An SSH server that asks everybody for their key, and refuses each: who offers a planted one has used it.

A client offers its keys one after the other, and each is looked up by what `bait_shape.ssh_tag` makes of it. It
signs nothing before the key is accepted, which it never is: that somebody has the public half is enough, for it
lies in one place only. The user's name that the planted file gives leads to the sandbox it was planted in.

The server's own key lives as long as the process: the planted file has clients not look at it.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import asyncssh

from sandboxes.index.honey import Honey
from sandboxes.index.ssh_door import TIME

type Talk = asyncssh.SSHServerConnection

_KEYS: Final = 20  # that one connection may offer
_EXCHANGES: Final = (
    *("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"),
    "diffie-hellman-group14-sha256",
)
_endings: Final[set[asyncio.Task[bool]]] = set()  # which nobody else holds

logger = logging.getLogger(__name__)
# What it says of each connection at INFO holds the user's name, which is a planted secret.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


def talk(honey: Honey, transport: asyncio.Transport, offered: Callable[[], None]) -> Talk:
    """Speaks on an open connection from now on; what is received has to be given to it. `offered` is called for each
    key that the client comes with, before it is looked up."""
    options = asyncssh.SSHServerConnectionOptions(
        server_factory=lambda: _Server(honey, offered),
        server_host_keys=[_host_key()],
        server_version="OpenSSH_9.6",
        kex_algs=_EXCHANGES,
        compression_algs=None,
        host_based_auth=False,
        kbdint_auth=False,
        password_auth=False,
        gss_host=None,
        login_timeout=TIME,
    )
    made = asyncssh.SSHServerConnection(asyncio.get_running_loop(), options)
    made.connection_made(transport)
    return made


class _Server(asyncssh.SSHServer):
    def __init__(self, honey: Honey, offered: Callable[[], None]) -> None:
        self._honey = honey
        self._offered = offered
        self._connection: asyncssh.SSHServerConnection | None = None
        self._keys = 0
        self._told = False
        self._user = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        self._user = username
        return True  # True: they have to prove who they are

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Raises `UnavailableError` when a use cannot be written down, which ends the connection: not as if it were
        none."""
        self._offered()
        self._keys += 1
        if self._keys <= _KEYS and await self._tell(username, key.public_data):
            self._told = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Who came with the planted user's name and none of our keys has read the file as well."""
        if self._user and not self._told:
            task = asyncio.get_running_loop().create_task(self._tell(self._user, b""))
            _endings.add(task)
            task.add_done_callback(_ended)

    async def _tell(self, user: str, key: bytes) -> bool:
        about: dict[str, Any] = {"version": "", "address": ""}
        if self._connection is not None:
            peer = self._connection.get_extra_info("peername") or ("",)
            about = {
                "version": self._connection.get_extra_info("client_version") or "",
                "address": str(peer[0]),
            }
        return await self._honey.knocked(user, key, **about)


def _ended(task: asyncio.Task[bool]) -> None:
    _endings.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a use of a planted name could not be written down: %s", error)


@cache
def _host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")
