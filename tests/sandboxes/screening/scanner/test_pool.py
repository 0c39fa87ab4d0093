"""The pool with real children, some of which come to grief."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from sandboxes.errors import TemporaryError
from sandboxes.screening.findings import Report, Threat
from sandboxes.screening.package import Facts
from sandboxes.screening.scanner import VERSION, Scanners
from tests.sandboxes.screening.archives import made

HOSTILE = "tests.sandboxes.screening.scanner.hostile"
GOOD = ["good"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(made.wheel({"thing.py": b"x = 1\n"}))
    return path


@pytest.fixture
async def scanners() -> AsyncIterator[Scanners]:
    async with Scanners(1, module=HOSTILE, seconds=60) as made_ones:
        yield made_ones


def asked(act: str) -> Facts:
    return replace(made.WHEEL, project=act)


def rules(report: Report) -> list[str]:
    return [found.rule for found in report.findings]


async def test_a_file_is_scanned_by_one_child_after_the_other_file(scanners: Scanners, file: Path) -> None:
    first = await scanners.scan(file, asked("read"))
    pids = scanners.pids()
    second = await scanners.scan(file, asked(""))

    assert rules(first) == ["thing.py", "good"]
    assert rules(second) == GOOD
    assert (first.broken, first.version) == ("", VERSION)
    assert first.seconds > 0
    assert scanners.pids() == pids
    assert len(pids) == 1


async def test_what_a_file_has_its_scanner_say_counts_for_no_file(scanners: Scanners, file: Path) -> None:
    await scanners.scan(file, asked(""))
    forged = await scanners.scan(file, asked("forge"))

    assert forged.broken == "its scanner answered more than it was asked"
    assert scanners.pids() == set()
    assert rules(await scanners.scan(file, asked("read"))) == ["thing.py", "good"]


async def test_what_a_file_has_its_scanner_say_later_counts_for_no_file(
    scanners: Scanners, file: Path
) -> None:
    assert "grave" in rules(await scanners.scan(file, asked("forge-later")))
    await asyncio.sleep(1)
    for _ in range(3):
        assert rules(await scanners.scan(file, asked("read"))) == ["thing.py", "good"]


async def test_a_wheel_is_compared_with_its_own_sources(tmp_path: Path) -> None:
    """By the real child: what is in no file of the sdist is told; a file of another version's is no matter."""
    call = b"import os\nos.system('id')\n"
    wheel, sources = tmp_path / "wheel", tmp_path / "sources"
    wheel.write_bytes(made.wheel({"t/__init__.py": b"x = 1\n", "t/more.py": call}))
    seen = {}
    async with Scanners(1) as scanners:
        for name, (version, more) in {
            "without": (made.WHEEL.version, b""),
            "with": (made.WHEEL.version, call),
            "another": ("0.0.1", b""),
        }.items():
            head = f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n".encode()
            files = {"t/PKG-INFO": head, "t/src/t/__init__.py": b"x = 1\n"}
            sources.write_bytes(made.sdist(files | ({"t/src/t/more.py": more} if more else {})))
            seen[name] = await scanners.scan(wheel, made.WHEEL, None, sources)
        sources.write_bytes(b"noise")
        seen["unread"] = await scanners.scan(wheel, made.WHEEL, None, sources)

    assert {report.broken for report in seen.values()} == {""}
    told = [found for found in seen["without"].findings if found.rule == "difference.not-in-sources"]
    assert [found.path for found in told] == ["t/more.py"]
    for name in ("with", "another", "unread"):
        assert "difference.not-in-sources" not in rules(seen[name])
    assert "scanner.sources-unread" in rules(seen["unread"])


FATES = {
    "die": "its scanner was ended by SIGKILL",
    "leave": "its scanner ended by itself (7)",
    "nonsense": "its scanner answered what cannot be understood",
    "endless-line": "its scanner answered what cannot be understood",
}


@pytest.mark.parametrize("act", FATES)
async def test_a_child_that_is_lost_holds_the_file_and_no_other(
    scanners: Scanners, file: Path, act: str
) -> None:
    report = await scanners.scan(file, asked(act))
    after = await scanners.scan(file, asked(""))

    assert report.broken == FATES[act]
    assert report.version == VERSION
    assert rules(after) == GOOD
    assert after.broken == ""


@pytest.mark.parametrize(
    ("act", "waiting", "why"),
    [
        ("endless", 300, "its scanner used up its 1 s of processor time"),
        ("sleep", 5, "scanning it did not end within 5 s"),
    ],
)
async def test_one_that_takes_too_long_is_ended(file: Path, act: str, waiting: float, why: str) -> None:
    """By a used child too, and without a second one: the time was this file's own."""
    async with Scanners(1, module=HOSTILE, seconds=1, waiting=waiting) as scanners:
        await scanners.scan(file, asked(""))
        (pid,) = scanners.pids()
        report = await scanners.scan(file, asked(act))

        assert report.broken == why
        assert not psutil.pid_exists(pid)
        assert scanners.pids() == set()
        assert rules(await scanners.scan(file, asked(""))) == GOOD


async def test_each_file_has_processor_time_of_its_own(file: Path) -> None:
    async with Scanners(1, module=HOSTILE, seconds=2) as scanners:
        reports = [await scanners.scan(file, asked("burn")) for _ in range(3)]  # 4.5 s together

        assert [(rules(report), report.broken) for report in reports] == [(["burned", "good"], "")] * 3


async def test_time_in_which_it_could_not_run_is_not_counted(file: Path) -> None:
    """A loaded machine, or one that was asleep: by the clock it takes longer than it has of the processor."""
    async with Scanners(1, module=HOSTILE, seconds=1) as scanners:
        await scanners.scan(file, asked(""))
        (pid,) = scanners.pids()
        scanning = asyncio.create_task(scanners.scan(file, asked("pause")))
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)
        await asyncio.sleep(2.5)
        os.kill(pid, signal.SIGCONT)
        report = await scanning

        assert (rules(report), report.broken) == (["paused", "good"], "")
        assert report.seconds > 2
        assert scanners.pids() == {pid}


@pytest.mark.parametrize(
    ("act", "why"), [("memory", "MemoryError"), ("deep", "RecursionError"), ("fail-late", "KeyError 'oops'")]
)
async def test_a_detector_that_fails_holds_the_file_and_stops_no_other(
    scanners: Scanners, file: Path, act: str, why: str
) -> None:
    report = await scanners.scan(file, asked(act))

    assert report.broken.startswith("the detector hostile failed: " + why)
    assert rules(report) == (["before", "good"] if act == "fail-late" else GOOD)


async def test_the_gravest_are_told_however_many_there_are(scanners: Scanners, file: Path) -> None:
    report = await scanners.scan(file, asked("many"))

    assert len(report.findings) == 200
    assert (report.findings[0].rule, report.findings[0].threat) == ("grave", Threat.CRITICAL)
    assert len({rule for rule in rules(report) if rule.startswith("noise")}) == 50  # no rule hides another
    assert max(len(found.excerpt) for found in report.findings) == 300


async def test_what_is_no_text_is_told_as_text(scanners: Scanners, file: Path) -> None:
    report = await scanners.scan(file, asked("surrogates"))

    assert (report.findings[0].why, report.findings[0].excerpt) == ("?", "?\N{REPLACEMENT CHARACTER} x")


async def test_a_file_that_cannot_be_read_says_why(scanners: Scanners, tmp_path: Path, file: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(made.zipped(made.Lie(b"a", b"123", crc=1)))
    none = tmp_path / "none"
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise")

    assert (
        await scanners.scan(none, asked("read"))
    ).broken == "it cannot be opened: No such file or directory"
    assert (await scanners.scan(noise, asked("read"))).broken == "it is no zip, or its end is missing"
    assert (await scanners.scan(bad, asked("read"))).broken == "'a' is damaged: its checksum is another"
    swallowed = await scanners.scan(bad, asked("swallow"))
    assert swallowed.broken == "'a' is damaged: its checksum is another"  # though the detector said nothing
    assert len(scanners.pids()) == 1


async def test_the_release_before_is_read_by_its_bytes(
    scanners: Scanners, tmp_path: Path, file: Path
) -> None:
    former = tmp_path / "former"
    facts = replace(asked("former"), former_version="0.9")

    former.write_bytes(made.sdist({"t/old.py": b"old"}))
    sdist = await scanners.scan(file, facts, former)
    former.write_bytes(made.wheel({"old.py": b"old"}))
    wheel = await scanners.scan(file, facts, former)

    assert [(found.rule, found.why) for found in sdist.findings[:2]] == [("sdist", "0.9"), ("old.py", "old")]
    assert rules(wheel) == ["wheel", "old.py", "good"]


@pytest.mark.parametrize("data", [b"noise", made.zipped(made.Lie(b"a", b"123", crc=1))])
async def test_a_release_before_that_cannot_be_read_is_told_and_holds_nothing(
    scanners: Scanners, tmp_path: Path, file: Path, data: bytes
) -> None:
    former = tmp_path / "former"
    former.write_bytes(data)
    report = await scanners.scan(file, asked("former"), former)

    assert report.broken == ""
    assert {"good", "scanner.former-unreadable"} <= set(rules(report))


async def test_what_is_printed_is_no_report(scanners: Scanners, file: Path) -> None:
    assert rules(await scanners.scan(file, asked("print"))) == ["printed", "good"]


async def test_a_child_has_no_secret_and_gains_no_right(
    scanners: Scanners, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "secret")
    monkeypatch.setenv("SCREENING_RULES", "/rules")
    seen = {
        act: (await scanners.scan(file, asked(act))).findings[0].why
        for act in ("environment", "status", "thread")
    }

    assert {"DATABASE_URL", "SECRET_KEY"}.isdisjoint(seen["environment"].split())
    assert "SCREENING_RULES" in seen["environment"].split()
    assert seen["status"] == "1"
    assert seen["thread"] == "[1]"  # which the engine of patterns needs


async def test_a_child_can_start_write_and_reach_nothing(
    scanners: Scanners, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = await scanners.scan(file, asked("tries"))
    if "confined less" in caplog.text:
        pytest.skip(caplog.text)
    went = {found.rule: found.why for found in report.findings if found.rule != "good"}

    assert report.broken == ""
    assert len(went) == 19
    assert went.pop("read") == went.pop("list") == "Permission denied"
    assert set(went.values()) == {"Operation not permitted"}
    assert not Path(__file__).with_name("hostile-was-here").exists()


async def test_what_confinement_lacks_is_said_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A child of a system that has none of it."""
    async with Scanners(1, module="tests.sandboxes.screening.scanner.unconfined", files=1) as scanners:
        reports = [await scanners.scan(file, asked("")) for _ in range(2)]

    assert [rules(report) for report in reports] == [GOOD] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "scanners are confined less than they should be here: there is no wall; nor a roof"
    ]


async def test_a_former_release_that_is_gone_is_told(scanners: Scanners, tmp_path: Path, file: Path) -> None:
    report = await scanners.scan(file, asked("former"), tmp_path / "gone")

    assert report.broken == ""
    assert "scanner.former-unreadable" in rules(report)


async def test_a_child_knows_no_django(scanners: Scanners, file: Path) -> None:
    report = await scanners.scan(file, asked("modules"))
    modules = report.findings[0].why.split()

    assert report.broken == ""
    assert {"django", "psycopg", "portal"}.isdisjoint(modules)


async def test_a_child_that_was_killed_before_it_had_this_file_is_replaced(
    scanners: Scanners, file: Path
) -> None:
    """Nobody is told here that it died: the pool may see that only when it asks."""
    await scanners.scan(file, asked(""))
    (pid,) = scanners.pids()
    os.kill(pid, signal.SIGKILL)
    report = await scanners.scan(file, asked(""))

    assert (rules(report), report.broken) == (GOOD, "")
    assert scanners.pids() != {pid}


async def test_a_file_that_kills_a_used_child_has_a_fresh_one_to_kill_and_no_third(
    scanners: Scanners, file: Path
) -> None:
    await scanners.scan(file, asked(""))
    report = await scanners.scan(file, asked("die"))

    assert report.broken == FATES["die"]
    assert scanners.pids() == set()


async def test_children_are_replaced_after_a_number_of_files(file: Path) -> None:
    pids = set()
    async with Scanners(1, module=HOSTILE, files=2) as scanners:
        for _ in range(4):
            assert (await scanners.scan(file, asked(""))).broken == ""
            pids |= scanners.pids()

        assert scanners.pids() == set()
    assert len(pids) == 2


async def test_whoever_stops_waiting_takes_the_busy_child_along(scanners: Scanners, file: Path) -> None:
    await scanners.scan(file, asked(""))
    (pid,) = scanners.pids()
    waiting = asyncio.create_task(scanners.scan(file, asked("sleep")))
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not psutil.pid_exists(pid)
    assert rules(await scanners.scan(file, asked(""))) == GOOD


async def test_several_at_once_and_no_more(file: Path) -> None:
    async with Scanners(2, module=HOSTILE) as scanners:
        reports = await asyncio.gather(*(scanners.scan(file, asked("read")) for _ in range(12)))

        assert len(scanners.pids()) == 2
    assert [rules(report) for report in reports] == [["thing.py", "good"]] * 12


async def test_closing_ends_what_is_under_way(file: Path) -> None:
    scanners = Scanners(1, module=HOSTILE)
    busy = asyncio.create_task(scanners.scan(file, asked("sleep")))
    queued = asyncio.create_task(scanners.scan(file, asked("")))
    async with asyncio.timeout(60):
        while not scanners.pids():  # noqa: ASYNC110  nothing tells when one was started
            await asyncio.sleep(0.01)
    pids = scanners.pids()
    await scanners.close()

    for task in (busy, queued):
        with pytest.raises(TemporaryError):
            await task
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(TemporaryError, match="being stopped"):
        await scanners.scan(file, asked(""))


async def test_children_that_cannot_start_say_nothing_about_a_file(file: Path) -> None:
    async with Scanners(1, module="tests.sandboxes.screening.scanner.none_such") as scanners:
        with pytest.raises(TemporaryError, match="could not start"):
            await scanners.scan(file, asked(""))
        assert scanners.pids() == set()


async def test_the_real_child_with_all_detectors(tmp_path: Path) -> None:
    """Of a wheel that is in order, and of one that starts with Python."""
    file = tmp_path / "file"
    async with Scanners(1) as scanners:
        file.write_bytes(made.wheel({"thing/__init__.py": b"x = 1\n"}))
        calm = await scanners.scan(file, made.WHEEL)
        file.write_bytes(made.wheel({"thing.pth": b"import os; os.system('id')\n"}))
        hook = await scanners.scan(file, made.WHEEL)

    assert (calm.broken, hook.broken) == ("", "")
    assert any(found.path == "thing.pth" for found in hook.findings)
