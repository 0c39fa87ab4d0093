"""SSH at the index's port: planted keys are known again, and nobody gets in."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sandboxes.index.app import make_app
from sandboxes.index.config import Config, source
from sandboxes.index.listening import listen
from sandboxes.index.serving import Serving
from sandboxes.lifecycle import bait, honeytokens
from sandboxes.lifecycle.bait import Kind
from sandboxes.lifecycle.models import Honeytoken, HoneytokenUse, Sandbox
from tests.sandboxes.index.conftest import Index, committed, database_url
from tests.sandboxes.index.upstream_server import UpstreamServer


@pytest.fixture
async def planted(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    committed(lambda: honeytokens.plant(sandbox))
    yield sandbox
    committed(_delete)


def _delete() -> None:
    HoneytokenUse.objects.all().delete()
    Honeytoken.objects.all().delete()


@pytest.fixture
async def port(index: Index, upstream: UpstreamServer, tmp_path: Path) -> AsyncIterator[int]:
    """The index as its worker serves it: `index` shares its database and is asked for rows."""
    sources = (source("INDEX_UPSTREAM", upstream.url),)
    app = await make_app(Config(database_url(), "127.0.0.1", 0, tmp_path / "served", sources))
    serving = Serving(app, grace=0.2)
    listening = listen("127.0.0.1", 0)
    await serving.start(listening)
    yield listening.getsockname()[1]
    await serving.stop()


def name_of(sandbox: Sandbox) -> str:
    place = next(each.shown for each in bait.baits(sandbox.pk) if each.kind == Kind.PLACE)
    return f"deploy-{place}"


def key_of(sandbox: Sandbox) -> asyncssh.SSHKey:
    return asyncssh.import_private_key(bait.files(sandbox.pk)["ssh-key"])


async def knock(port: int, user: str, *keys: asyncssh.SSHKey) -> None:
    """Comes with these keys and is refused."""
    settings: dict[str, Any] = {"known_hosts": None, "config": None, "agent_path": None}
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1",
            port,
            username=user,
            client_keys=list(keys) or None,
            client_version="test",
            **settings,
        )


async def uses(index: Index) -> list[dict[str, Any]]:
    return list(
        await index.rows(
            "SELECT t.kind, t.sandbox_id, u.seen_in_id, u.method, u.path, u.user_agent, u.address"
            " FROM lifecycle_honeytokenuse u JOIN lifecycle_honeytoken t ON t.id = u.token_id ORDER BY u.id"
        )
    )


async def used(index: Index) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async with asyncio.timeout(30):
        while not found:
            found = await uses(index)
    return found


async def test_the_planted_key_names_the_sandbox(index: Index, port: int, planted: Sandbox) -> None:
    await knock(port, "root", key_of(planted))
    [use] = await uses(index)
    assert use == {
        "kind": "ssh",
        "sandbox_id": planted.pk,
        "seen_in_id": None,
        "method": "SSH",
        "path": "root",
        "user_agent": "SSH-2.0-test",
        "address": "127.0.0.1",
    }


async def test_as_the_planted_user_it_is_known_where(index: Index, port: int, planted: Sandbox) -> None:
    await knock(port, name_of(planted), asyncssh.generate_private_key("ssh-ed25519"), key_of(planted))
    [use] = await uses(index)
    assert (use["kind"], use["seen_in_id"], use["path"]) == ("ssh", planted.pk, "deploy-…")


async def test_the_users_name_alone_is_a_use(index: Index, port: int, planted: Sandbox) -> None:
    await knock(port, name_of(planted), asyncssh.generate_private_key("ssh-ed25519"))
    [use] = await used(index)
    assert (use["kind"], use["sandbox_id"], use["path"]) == ("place", planted.pk, "deploy-…")


async def test_carried_to_another_sandbox(index: Index, port: int, planted: Sandbox, neighbour: str) -> None:
    [other] = await index.rows("SELECT id FROM lifecycle_sandbox WHERE name = 'other'")
    there = Sandbox(pk=other["id"])
    committed(lambda: honeytokens.plant(Sandbox.objects.get(pk=there.pk)))
    await knock(port, name_of(there), key_of(planted))
    [use] = await uses(index)
    assert (use["kind"], use["sandbox_id"], use["seen_in_id"]) == ("ssh", planted.pk, there.pk)


async def test_somebody_elses_key_is_nothing(index: Index, port: int, planted: Sandbox) -> None:
    await knock(port, "deploy", asyncssh.generate_private_key("ssh-ed25519"))
    await knock(port, f"deploy-{'a' * 24}", asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
    await knock(port, name_of(planted), key_of(planted))  # comes after whatever was on its way
    assert [use["kind"] for use in await uses(index)] == ["ssh"]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH")
async def test_openssh_with_the_planted_files(
    index: Index, port: int, planted: Sandbox, tmp_path: Path, settings: Any
) -> None:
    settings.INDEX_URL = f"http://127.0.0.1:{port}"
    files = bait.files(planted.pk)
    key, config = tmp_path / "id_ed25519", tmp_path / "config"
    key.write_text(files["ssh-key"])
    key.chmod(0o600)
    config.write_text(files["ssh-config"].replace("~/.ssh/id_ed25519", str(key)))
    ssh = await asyncio.create_subprocess_exec(
        *("ssh", "-F", str(config), "-o", "BatchMode=yes", "deploy", "true"),
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    _, said = await ssh.communicate()
    assert b"Permission denied (publickey)" in said
    [use] = await uses(index)
    assert (use["kind"], use["seen_in_id"], use["method"]) == ("ssh", planted.pk, "SSH")
    assert use["user_agent"].startswith("SSH-2.0-OpenSSH")


async def test_other_requests_are_http_as_ever(index: Index, port: int, planted: Sandbox) -> None:
    async with index.session.post(f"http://127.0.0.1:{port}/honey/x", data=b"SSH-2.0-x\r\n") as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    "first", [b"SSH-\r\n", b"SSH-2.0-x\r\nnonsense" + b"\0" * 5000, b"SSH-" + b"x" * 70_000]
)
async def test_nonsense_ends_the_connection(port: int, planted: Sandbox, first: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            await reader.read(-1)
    writer.close()


async def test_nothing_of_it_is_logged(
    index: Index, port: int, planted: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await knock(port, name_of(planted), key_of(planted))
    assert name_of(planted) not in caplog.text


async def test_the_index_starts_without_it() -> None:
    """It costs memory, which hardly any index ever needs."""
    code = "import sys, sandboxes.index.app; sys.exit('asyncssh' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
