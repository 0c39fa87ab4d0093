"""The endpoint that planted credentials point at: anything is answered with 403, and their use is written down.
SSH comes here too (`ssh.py`), where no key is accepted.

Anybody may ask, so a request costs nothing unless it holds what looks like one of ours; then it costs one
statement, and of each token no more than `_ROWS` uses become rows. What a request shows is compared by its
digest, so that the time it takes says nothing of how close a guess was. No part of it is logged, and neither
is the query kept, nor the body.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from contextlib import suppress
from typing import Final

from aiohttp import web

from sandboxes.index.credentials import credentials_of
from sandboxes.index.database import Database
from sandboxes.lifecycle.bait_shape import AWS_PATTERN, PYPI_PATTERN, TAG_PATTERN, USER, ssh_tag

_ROWS: Final = 100  # uses of one token that become rows; the rest is counted
_BODY: Final = 64 * 1024  # bytes of it that are looked through
_PATIENCE: Final = 5.0  # seconds for that
_MOST: Final = 20  # tokens that are looked up of one request
_SHOWN: Final = re.compile(f"{AWS_PATTERN}|{PYPI_PATTERN}")
_TAG: Final = re.compile(TAG_PATTERN)
_SSH: Final = "SSH"  # the method of a use by SSH

# What was shown, and in whose sandbox: by the index token that came along, else by the address that was asked.
_USE = """
WITH visitor AS (
    SELECT id FROM lifecycle_sandbox WHERE name = %(name)s AND index_token_digest = %(token)s
), place AS (
    SELECT id, sandbox_id, kind FROM lifecycle_honeytoken WHERE digest = %(tag)s
), shown AS (
    SELECT id FROM lifecycle_honeytoken WHERE digest = ANY(%(shown)s)
    UNION SELECT id FROM place WHERE %(alone)s AND (kind = 'ssh' OR NOT EXISTS (
        SELECT FROM lifecycle_honeytoken WHERE digest = ANY(%(shown)s)))
), counted AS (
    UPDATE lifecycle_honeytoken t SET uses = t.uses + 1, used_at = now()
    FROM (SELECT id FROM lifecycle_honeytoken WHERE id IN (SELECT id FROM shown) ORDER BY id FOR UPDATE) AS l
    WHERE t.id = l.id RETURNING t.id, t.uses
)
INSERT INTO lifecycle_honeytokenuse (token_id, at, seen_in_id, method, path, user_agent, address)
SELECT id, now(), coalesce((SELECT id FROM visitor), (SELECT sandbox_id FROM place)), %(method)s, %(path)s,
    %(agent)s, %(address)s
FROM counted WHERE uses <= %(rows)s"""


class Honey:
    def __init__(self, database: Database) -> None:
        self._database = database

    def table(self) -> list[web.RouteDef]:
        return [web.route("*", "/honey/{tag}{rest:.*}", self.serve), web.route("*", "/honey/", self.serve)]

    async def serve(self, request: web.Request) -> web.Response:
        """Raises `UnavailableError` when a use cannot be written down: clients of clouds try again."""
        tag = request.match_info.get("tag", "")
        tag = tag if _TAG.fullmatch(tag) else ""
        shown = await _shown(request)
        if tag or shown:
            await self._database.rows(_USE, _values(request, tag, shown))
        return web.Response(status=403, text="Forbidden\n", headers={"Cache-Control": "no-store"})

    async def knocked(self, user: str, key: bytes, *, version: str, address: str) -> bool:
        """Somebody came by SSH: as whom, and with which public key (RFC 4253, 6.6) if any. Whether it is ours.

        The user's name that was planted stands for the endpoint's address. Raises `UnavailableError`.
        """
        tag = user.removeprefix(USER)
        tag = tag if _TAG.fullmatch(tag) else ""
        if not tag and not key:
            return False
        values = {
            "name": "",
            "token": "",
            "tag": _digest(tag) if tag else "",
            "shown": [_digest(ssh_tag(key))] if key else [],
            "alone": not key,  # one that comes with keys of others may still have ours: it tells the name last
            "method": _SSH,
            "path": _storable(user.replace(tag, "…") if tag else user, 200),
            "agent": _storable(version, 200),
            "address": address[:45],
            "rows": _ROWS,
        }
        used = await self._database.rows(f"{_USE} RETURNING token_id", values)
        return bool(used)


async def _shown(request: web.Request) -> list[str]:
    """Whatever in it looks like a planted credential: address, headers, and the beginning of its body."""
    texts = [request.raw_path, *request.headers.getall("Authorization", [])]
    password = _password(request)
    body = await _beginning(request) if request.can_read_body else ""
    found = (match for text in (*texts, password, body) for match in _SHOWN.findall(text))
    return list(dict.fromkeys(found))[:_MOST]


async def _beginning(request: web.Request) -> str:
    read = bytearray()
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            async for chunk in request.content.iter_any():
                read += chunk
                if len(read) >= _BODY:
                    break
    return bytes(read[:_BODY]).decode("ascii", "replace")


def _password(request: web.Request) -> str:
    """Of HTTP basic credentials, whatever name came with it."""
    _, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("ascii", "replace")
    except (binascii.Error, ValueError):
        return ""


def _values(request: web.Request, tag: str, shown: list[str]) -> dict[str, object]:
    visitor = credentials_of(request.headers.get("Authorization"))
    return {
        "name": visitor.name if visitor else "",
        "token": visitor.digest if visitor else "",
        "tag": _digest(tag) if tag else "",
        "shown": [_digest(each) for each in shown],
        "alone": True,  # the address that was asked is a use, if nothing else was shown
        "method": _storable(request.method, 20),
        "path": _storable(request.path.replace(tag, "…") if tag else request.path, 200),
        "agent": _storable(request.headers.get("User-Agent", ""), 200),
        "address": (request.remote or "")[:45],
        "rows": _ROWS,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _storable(text: str, longest: int) -> str:
    """Without what no database takes, and without a credential that somebody put where it does not belong."""
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return _SHOWN.sub("…", clean)[:longest]
