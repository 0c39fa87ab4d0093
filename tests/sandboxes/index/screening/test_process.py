"""The process itself, with the real scanner: `python -m sandboxes.index.screening`."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sandboxes.errors import InvalidInputError
from sandboxes.index.screening import config
from tests.sandboxes.index.conftest import Index, path_of
from tests.sandboxes.index.patience import until
from tests.sandboxes.index.screening.conftest import Screening, Start, jobs, verdict
from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

type Stop = Callable[[Screening], None]


@pytest.fixture
def stop() -> Iterator[Stop]:
    """Stops the scanners of a screening process: it is in the middle of a scan then, for as long as a test likes."""
    stopped: list[psutil.Process] = []

    def stop_scanners(process: Screening) -> None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.suspend()
            stopped.append(child)

    yield stop_scanners
    for child in stopped:
        with suppress(psutil.NoSuchProcess):
            child.kill()


async def test_a_new_file_is_screened_and_given(index: Index, demo: Package, start: Start) -> None:
    await start()
    assert (await index.ask(path_of(demo))).body == demo.data
    found = await verdict(index, demo.sha256)
    assert (found["state"], found["scanned_by"] > 0, found["broken"]) == ("passed", True, "")
    assert await jobs(index) == []


async def test_a_file_that_cannot_be_read_is_held(
    index: Index, upstream: UpstreamServer, start: Start
) -> None:
    broken = Package("demo-1.0-py3-none-any.whl", b"no zip at all")
    upstream.add("demo", broken)
    await start()
    reply = await index.ask(path_of(broken))
    assert (reply.status, reply.reason.startswith("[held] ")) == (403, True)
    assert (await verdict(index, broken.sha256))["broken"]


async def test_ends_when_it_is_told_to(start: Start) -> None:
    process = await start()
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not [each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


async def test_killed_while_it_screens_the_next_one_does_it(
    index: Index, upstream: UpstreamServer, start: Start, stop: Stop
) -> None:
    """Its scanners are stopped, so it is surely in the middle; the lease is all that is left of it."""
    demo = make_wheel()
    upstream.add("demo", demo)
    first = await start()
    stop(first)
    asking = asyncio.create_task(index.ask(path_of(demo)))
    await until(lambda: _leased(index))
    os.killpg(first.pid, signal.SIGKILL)
    await first.wait()
    [job] = await jobs(index)
    assert job["attempts"] == 1
    await start()
    await index.rows("UPDATE screening_job SET leased_until = now()")  # half a minute passes
    await index.rows("SELECT pg_notify('screening_job', '')")
    assert (await verdict(index, demo.sha256))["state"] == "passed"
    await asking
    assert (await index.ask(path_of(demo))).body == demo.data
    assert await jobs(index) == []
    [folder] = (index.folder / "screening").iterdir()
    assert list(folder.iterdir()) == []


async def test_killed_three_times_by_a_file_holds_it(
    index: Index, demo: Package, start: Start, stop: Stop
) -> None:
    asking: list[asyncio.Task[object]] = []
    for _ in range(3):
        process = await start(SCREENING_PROCESSES="1")
        stop(process)
        await index.rows("SELECT pg_notify('screening_job', '')")
        if not asking:
            asking.append(asyncio.create_task(index.ask(path_of(demo))))
        await until(lambda: _leased(index))
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await index.rows("UPDATE screening_job SET leased_until = now()")
    await start()
    found = await verdict(index, demo.sha256)
    assert (found["state"], "begun 3 times" in found["reason"]) == ("held", True)
    await asyncio.gather(*asking)


async def test_the_index_dies_and_the_file_is_screened_nonetheless(
    index: Index, demo: Package, start: Start
) -> None:
    """Whoever asked is gone: the job is not."""
    asking = asyncio.create_task(index.ask(path_of(demo)))
    await until(lambda: _wanted(index))
    asking.cancel()
    await start()
    assert (await verdict(index, demo.sha256))["state"] == "passed"


@pytest.mark.parametrize("number", ["0", "65", "many"])
def test_a_number_of_processes_that_makes_no_sense_is_refused(number: str) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1/none", "SCREENING_PROCESSES": number}
    with pytest.raises(InvalidInputError, match="SCREENING_PROCESSES"):
        config.read(environ)


def test_it_has_the_folder_and_the_storage_of_the_index(tmp_path: Path) -> None:
    environ = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
        "DATA_DIR": str(tmp_path),
        "INDEX_STORAGE": "s3://dishes/wheels",
    }
    read = config.read(environ)
    assert (read.folder, read.storage, read.processes) == (tmp_path / "index", "s3://dishes/wheels", 2)


async def _leased(index: Index) -> bool:
    return bool(await index.rows("SELECT 1 FROM screening_job WHERE leased_until > now()"))


async def _wanted(index: Index) -> bool:
    return bool(await jobs(index))


async def test_an_attestation_that_the_upstream_has_no_more_is_found(
    index: Index, upstream: UpstreamServer, start: Start
) -> None:
    old, new = make_wheel(version="1.0"), make_wheel(version="2.0")
    upstream.add("demo", old, new)
    upstream.extra[old.filename] = {
        "provenance": "https://upstream.example.com/integrity/demo-1.0/provenance"
    }
    await start()
    for each in (old, new):
        assert (await index.ask(path_of(each))).status == 200
    found = {row["filename"]: row["findings"] for row in await index.rows("SELECT * FROM screening_verdict")}
    assert found[old.filename] == []
    [gone] = [each for each in found[new.filename] if each["rule"] == "attestation.gone"]
    assert gone["why"].startswith("1.0 says")


async def test_maintainers_of_whom_none_is_left_are_found(
    index: Index, upstream: UpstreamServer, start: Start
) -> None:
    """PyPI's pages tell of no people: what the releases say of themselves is compared."""
    old = make_wheel(version="1.0", headers=["Author-email: Anna <anna@example.com>"])
    new = make_wheel(version="2.0", headers=["Author-email: Eve <eve@example.com>"])
    upstream.add("demo", old, new)
    await start()
    for each in (old, new):
        assert (await index.ask(path_of(each))).status == 200
    found = (await verdict(index, new.sha256))["findings"]
    assert "difference.people" in {each["rule"] for each in found}


async def test_an_admins_new_pattern_holds_for_what_was_given_already(
    index: Index, demo: Package, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    await start(SCREENING_RULES=str(folder))
    assert (await index.ask(path_of(demo))).status == 200
    before = (await verdict(index, demo.sha256))["rules"]
    (folder / "acme.yar").write_text(
        'rule acme { meta: threat = "critical" strings: $a = "VERSION" condition: $a }'
    )

    async def again() -> bool:
        found = await verdict(index, demo.sha256)
        return bool(found["rules"] != before and found["state"] == "held")

    async with asyncio.timeout(90):
        while not await again():  # noqa: ASYNC110 -- what is waited for is a row
            await asyncio.sleep(0.5)
    assert (await index.ask(path_of(demo))).status == 403
    await index.rows("DELETE FROM screening_rules")
