"""Whether the last preparation still holds, found without Django, which takes two seconds to import.

Preparing (`prepare.py`) is remembered by two fingerprints: of everything on
disk that it depends on, and of the migrations the database says it has. When
both are as they were, and the tokens in `demo.json` still work, there is nothing
to prepare. Any doubt prepares again; that is always safe. And should the doubt
have come too late, `/readyz` says 503 while a migration is missing.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from portal import env, private
from portal.env import Environment

_CODE = (
    "portal/*/migrations/*.py",
    "sandboxes/*/migrations/*.py",
    "portal/*/static/**/*",
    "portal/accounts/demo.py",
)
_PACKAGES = ("pyproject.toml", ".venv/ready")


@dataclass(frozen=True)
class Fingerprint:
    """`people`: the sign-ins of `demo.json`, empty in production."""

    code: str
    migrations: str
    people: str


def is_prepared(environment: Environment, connection: psycopg.Connection) -> bool:
    try:
        noted = json.loads(_note(environment).read_text())
        same = noted == asdict(_fingerprint(environment, connection))
    except (OSError, ValueError, psycopg.Error):
        return False
    return same and (environment.data_dir / "static").is_dir() and _tokens_work(environment, connection)


def note_prepared(environment: Environment, connection: psycopg.Connection) -> None:
    private.write(_note(environment), json.dumps(asdict(_fingerprint(environment, connection))))


def _note(environment: Environment) -> Path:
    return environment.data_dir / "run" / "prepared"


def _logins(environment: Environment) -> Path:
    return environment.data_dir / "demo.json"


def _fingerprint(environment: Environment, connection: psycopg.Connection) -> Fingerprint:
    code = hashlib.sha256()
    for path in _files():
        stat = path.stat()
        code.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    applied = connection.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall()
    people = b"" if environment.production else _logins(environment).read_bytes()
    return Fingerprint(
        code=code.hexdigest(),
        migrations=hashlib.sha256(repr(applied).encode()).hexdigest(),
        people=hashlib.sha256(people).hexdigest(),
    )


def _files() -> Iterator[Path]:
    """Names, sizes and times say enough; content would be read for nothing."""
    for pattern in (*_CODE, *_PACKAGES):
        yield from sorted(path for path in env.ROOT.glob(pattern) if path.is_file())


def _tokens_work(environment: Environment, connection: psycopg.Connection) -> bool:
    """As `portal.accounts.tokens.authenticate` would find it, for all of them at once."""
    if environment.production:
        return True
    logins: list[dict[str, str]] = json.loads(_logins(environment).read_text())
    digests = [hashlib.sha256(login["token"].encode()).hexdigest() for login in logins]
    found = connection.execute(
        "SELECT count(*) FROM accounts_apitoken t JOIN accounts_user u ON u.id = t.user_id"
        " WHERE t.digest = ANY(%s) AND t.revoked_at IS NULL AND t.expires_at > now() AND u.is_active",
        [digests],
    ).fetchone()
    return found is not None and found[0] == len(digests) > 0
