"""One child: kept running, given up on, bound to its supervisor, its log kept short."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from portal.supervisor import children
from portal.supervisor.children import Child, Spec
from sandboxes.errors import PermanentError
from tests.petridish import ROOT, wait_for

SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
type Make = Callable[[str], Child]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, said: list[str]) -> Iterator[Make]:
    """A child that runs the given code as a module; it is at work once it made its ready file."""
    made: list[Child] = []

    def child(code: str) -> Child:
        (tmp_path / "module_under_test.py").write_text(code)
        ready = tmp_path / "ready"
        spec = Spec(
            name="thing",
            command=["module_under_test", str(ready)],
            environ={**os.environ, "PYTHONPATH": str(tmp_path)},
            log=tmp_path / "thing.log",
            ready=ready.exists,
            ready_file=ready,
        )
        made.append(Child(spec, said.append))
        return made[-1]

    yield child
    for one in made:
        one.kill()


def test_it_is_ready_once_it_says_so_and_stops_when_asked(make: Make) -> None:
    child = make(SLEEPER)
    child.start()
    assert not child.is_ready()
    wait_for(child.is_ready, 20)

    children.stop([child], grace=10, in_a_hurry=lambda: False)

    assert child.is_gone()
    assert not child.is_ready()


def test_a_child_that_will_not_stop_is_killed(make: Make) -> None:
    child = make("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER)
    child.start()
    wait_for(child.is_ready, 20)

    started = time.monotonic()
    children.stop([child], grace=0.3, in_a_hurry=lambda: False)

    assert child.is_gone()
    assert time.monotonic() - started < 5


def test_it_is_started_again_and_not_called_ready_before_it_is(make: Make, said: list[str]) -> None:
    child = make(SLEEPER)
    child.start()
    wait_for(child.is_ready, 20)
    assert child.process is not None
    before = child.process
    before.kill()
    before.wait()

    def is_another() -> bool:
        child.watch()
        return child.process is not before

    wait_for(is_another, 20)
    assert child.process is not None
    assert child.process.pid != before.pid
    wait_for(child.is_ready, 20)
    assert said == [f"thing stopped (killed by SIGKILL) and is started again; its log is {child.spec.log}."]


def test_one_that_only_dies_is_given_up_on_with_its_log_named(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LONGEST_PAUSE", 0.01)
    child = make("raise SystemExit('this cannot work')")
    child.start()

    with pytest.raises(PermanentError, match=r"thing does not come up; see .*thing\.log"):
        wait_for(child.watch, 60)
    assert child.spec.log.read_text().count("this cannot work") == children.QUICK_DEATHS


def test_a_long_log_is_cut_and_its_end_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LOG_LIMIT", 100)
    child = make(SLEEPER)
    child.spec.log.write_text("x" * 101)
    child.start()
    child.watch()

    assert child.spec.log.stat().st_size == 0
    assert child.spec.log.with_name("thing.log.1").read_text() == "x" * 101


def test_it_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    """Whatever happens to the supervisor: here it is killed, and has no chance to do anything."""
    code = (
        "import os, sys, time; from pathlib import Path; from portal.supervisor.children import Child, Spec;"
        "p = Path(sys.argv[1]);"
        "c = Child(Spec('thing', ['http.server', '0'], os.environ, p / 'log', lambda: True), print);"
        "c.start(); (p / 'pid').write_text(str(c.process.pid)); time.sleep(60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 20)
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    assert child.is_running()

    supervisor.kill()
    supervisor.wait()

    wait_for(lambda: not child.is_running(), 20)
