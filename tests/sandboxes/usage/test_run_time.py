"""Downloads at run time, and attempts to get out with what came before them."""

import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import run_time
from sandboxes.usage.models import Connection, Fetch, Install
from sandboxes.usage.run_time import How, Why
from tests.simulator import ROOT

START = timezone.now() - timedelta(hours=8)
PACKAGES = ("pandas",)


@pytest.fixture
def mine(alice: User) -> Sandbox:
    return Sandbox.objects.create(
        name="mine", owner=alice, profile="python", data_class="public", lease=timedelta(days=1)
    )


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def asked(sandbox: Sandbox, at: float, filename: str, client: str = "pip 26.3", **changes: object) -> Fetch:
    given = {"kind": "file", "project": filename.partition("-")[0], "filename": filename, "client": client}
    return Fetch.objects.create(sandbox=sandbox, at=minute(at), **{**given, **changes})


def got(sandbox: Sandbox, at: float, project: str, client: str = "pip 26.3", version: str = "1.0") -> Fetch:
    """A file that was asked for and received, as the index writes it down: at one moment."""
    filename = f"{project}-{version}-py3-none-any.whl"
    Install.objects.create(
        sandbox=sandbox,
        at=minute(at),
        project=project,
        version=version,
        filename=filename,
        sha256="0" * 64,
        size=1,
        client=client,
    )
    return asked(sandbox, at, filename, client)


def refused(sandbox: Sandbox, at: float, host: str = "evil.example", **changes: object) -> Connection:
    given = {"port": 443, "allowed": False, "reason": "The seal lets it not.", "at": minute(at)}
    return Connection.objects.create(sandbox=sandbox, host=host, **{**given, **changes})


# ---- what is late, as a function


SETTLED = minute(5)


@pytest.mark.parametrize(
    ("client", "at", "settled_at", "again", "why"),
    [
        ("pip 26.3", minute(9), None, False, None),
        ("pip 26.3", minute(9), SETTLED, False, Why.AFTER_SETUP),
        ("pip 26.3", minute(5), SETTLED, False, None),
        ("pip 26.3", minute(9), SETTLED, True, None),
        ("python-requests 2.32", minute(1), None, False, Why.NO_INSTALLER),
        ("python-requests 2.32", minute(1), SETTLED, True, Why.NO_INSTALLER),
        ("", minute(1), None, False, Why.NO_INSTALLER),
    ],
)
def test_late(client: str, at: datetime, settled_at: datetime | None, again: bool, why: Why | None) -> None:
    assert run_time.late(client=client, at=at, settled_at=settled_at, again=again) == why


# ---- downloads


def test_only_what_no_installer_asked_for(mine: Sandbox) -> None:
    got(mine, 0, "nltk")
    asked(mine, 1, "", "python-requests 2.32", kind="page")
    late = asked(mine, 2, "punkt-1.0.zip", "python-requests 2.32")
    got(mine, 200, "six")
    [one] = run_time.downloads(mine, ())
    assert (one.fetch, one.why) == (late, Why.NO_INSTALLER)
    assert one.used == run_time.Used("nltk", "1.0", minute(0), How.BEFORE)


def test_a_client_that_names_its_package(mine: Sandbox) -> None:
    got(mine, 0, "nltk")
    got(mine, 1, "six")
    asked(mine, 300, "punkt-1.0.zip", "nltk 3.9")
    [one] = run_time.downloads(mine, ())
    assert one.used == run_time.Used("nltk", "1.0", minute(0), How.NAMED)


def test_a_name_that_was_never_received_is_no_package_of_the_sandbox(mine: Sandbox) -> None:
    asked(mine, 1, "punkt-1.0.zip", "nltk 3.9")
    got(mine, 2, "nltk")
    [one] = run_time.downloads(mine, ())
    assert one.used is None


def test_what_was_installed_long_before_is_not_taken_for_the_cause(mine: Sandbox) -> None:
    got(mine, 0, "nltk")
    asked(mine, 11, "punkt-1.0.zip", "curl 8.5")
    [one] = run_time.downloads(mine, ())
    assert one.used is None


def test_a_chain_leads_back_to_what_was_installed(mine: Sandbox) -> None:
    got(mine, 0, "dropper")
    got(mine, 1, "stage", "python-requests 2.32")
    last = asked(mine, 2, "stage2-1.0.zip", "python-requests 2.32")
    found = {one.fetch: one.used for one in run_time.downloads(mine, ())}
    assert found[last] == run_time.Used("dropper", "1.0", minute(0), How.BEFORE)
    assert {used.project for used in found.values() if used} == {"dropper"}


def test_an_installer_after_the_workspaces_own_installs(mine: Sandbox) -> None:
    got(mine, 0, "pandas")
    got(mine, 1, "numpy")
    later = got(mine, 60, "six")
    assert run_time.settled(mine) == minute(1)
    [one] = run_time.downloads(mine, PACKAGES)
    assert (one.fetch, one.why) == (later, Why.AFTER_SETUP)
    assert run_time.downloads(mine, ()) == []


# A real header of pip's, with what the workspace puts into it and what pip leaves out otherwise.
PIP = (
    'pip/26.3 {"ci":null,"cpu":"x86_64","implementation":{"name":"CPython","version":"3.13.1"},'
    '"installer":{"name":"pip","version":"26.3"},"python":"3.13.1","system":{"name":"Linux"}'
)
OWN = PIP + ',"user_data":"petridish-setup"}'


def own(sandbox: Sandbox, at: float, project: str) -> Fetch:
    """A file that the workspace's own step installs."""
    row = got(sandbox, at, project)
    Fetch.objects.filter(pk=row.pk).update(user_agent=OWN)
    return row


def test_a_step_that_says_so_is_the_workspaces_own(mine: Sandbox) -> None:
    """However long a file takes, and whatever the profile brings."""
    own(mine, 0, "torch")
    typed = got(mine, 4, "six")
    own(mine, 9, "numpy")
    later = got(mine, 60, "rich")
    assert run_time.settled(mine) == minute(9)
    for packages in (PACKAGES, ()):
        assert [(one.fetch, one.why) for one in run_time.downloads(mine, packages)] == [
            (later, Why.AFTER_SETUP)
        ]
    assert typed.pk < later.pk


def test_a_program_that_marks_its_own_gains_half_an_hour(mine: Sandbox) -> None:
    own(mine, 0, "torch")
    own(mine, 29, "numpy")
    forged = own(mine, 31, "stage")
    assert [one.fetch for one in run_time.downloads(mine, ())] == [forged]


def test_what_somebody_types_where_nothing_installs_itself_tells_nothing(mine: Sandbox) -> None:
    got(mine, 0, "pandas")
    got(mine, 400, "six")
    assert run_time.settled(mine, brings=False) is None
    assert run_time.downloads(mine, ()) == []


def test_pip_says_what_the_workspace_told_it() -> None:
    template = (ROOT / "k8s-templates" / "sandbox" / "40-workspace.yaml").read_text()
    name, _, value = next(word for word in template.split() if word.startswith("PIP_USER")).partition("=")
    code = "from pip._internal.network.session import user_agent; print(user_agent())"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'"user_data":"{run_time.OWN}"' in said.stdout
    assert len(said.stdout) < 1000  # of which the index keeps so much


def test_what_is_fetched_again_after_waking_up_is_not_late(mine: Sandbox) -> None:
    first = got(mine, 0, "pandas")
    asked(mine, 120, first.filename)
    assert run_time.downloads(mine, PACKAGES) == []


def test_setting_up_ends_after_half_an_hour_without_a_pause(mine: Sandbox) -> None:
    for at in range(40):
        got(mine, at, f"package{at}")
    assert run_time.settled(mine) == minute(30)


def test_setting_up_may_still_go_on(mine: Sandbox) -> None:
    ago = (timezone.now() - START).total_seconds() / 60
    assert run_time.settled(mine) is None
    got(mine, ago - 1, "pandas")
    assert run_time.settled(mine) is None


def test_pages_of_downloads_leave_nothing_out_and_give_nothing_twice(mine: Sandbox) -> None:
    got(mine, 0, "pandas")
    rows = [asked(mine, 60 + at, f"file-{at}.zip", "curl 8.5" if at % 2 else "pip 26.3") for at in range(7)]
    seen: list[int] = []
    before: int | None = None
    while page := run_time.downloads(mine, PACKAGES, before=before, limit=2):
        seen += [one.fetch.pk for one in page]
        before = seen[-1]
    assert seen == [row.pk for row in reversed(rows)]


def test_downloads_are_of_this_sandbox(mine: Sandbox, sandbox: Sandbox) -> None:
    asked(sandbox, 0, "other-1.0.zip", "curl 8.5")
    assert run_time.downloads(mine, PACKAGES) == []


# ---- attempts


def test_this_package_then_this_attempt(mine: Sandbox) -> None:
    got(mine, 0, "longago")
    got(mine, 20, "six")
    asked(mine, 21, "held-1.0-py3-none-any.whl", refused="deny")
    got(mine, 22, "evil", version="6.6")
    attempt = refused(mine, 25, repeats=3)
    got(mine, 26, "after")
    [one] = run_time.denied(mine)
    assert one.connection == attempt
    assert one.before == (
        run_time.Before("evil", "6.6", minute(22)),
        run_time.Before("six", "1.0", minute(20)),
    )


def test_what_is_installed_again_counts(mine: Sandbox) -> None:
    first = got(mine, 0, "evil")
    asked(mine, 100, first.filename)
    refused(mine, 101)
    [one] = run_time.denied(mine)
    assert one.before == (run_time.Before("evil", "1.0", minute(100)),)


def test_a_package_of_many_files_is_named_once_and_few_are_named(mine: Sandbox) -> None:
    for number in range(8):
        got(mine, number / 10, f"package{number}")
        asked(mine, number / 10, f"package{number}-2.0.tar.gz", project=f"package{number}")
    refused(mine, 1)
    [one] = run_time.denied(mine)
    assert [each.project for each in one.before] == [f"package{number}" for number in range(7, 2, -1)]


def test_attempts_newest_first_by_pages_of_this_sandbox(mine: Sandbox, sandbox: Sandbox) -> None:
    rows = [refused(mine, at) for at in range(5)]
    refused(sandbox, 1)
    refused(mine, 9, allowed=True)
    first = run_time.denied(mine, limit=3)
    rest = run_time.denied(mine, before=first[-1].connection.pk)
    assert [one.connection for one in [*first, *rest]] == rows[::-1]
    assert [one.before for one in first] == [()] * 3


# ---- counts and cost


def test_counts_of_the_last_day(mine: Sandbox, sandbox: Sandbox) -> None:
    asked(mine, 0, "a-1.zip", "curl 8.5")
    asked(mine, 0, "b-1.zip", "pip 26.3")
    asked(mine, -60 * 24, "c-1.zip", "curl 8.5")
    refused(mine, 0, repeats=4)
    refused(mine, 0)
    refused(mine, -60 * 24)
    assert run_time.recent([mine.pk, sandbox.pk]) == {mine.pk: run_time.Counts(downloads=1, attempts=6)}
    assert run_time.recent([]) == {}


def test_what_no_installer_asked_for_is_found_by_its_own_index(mine: Sandbox) -> None:
    """However many files a sandbox received by installers, none of them is read."""
    Fetch.objects.bulk_create(
        Fetch(sandbox=mine, kind="file", project="six", filename=f"six-{n}.whl", client="pip 26.3")
        for n in range(5000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_fetch")
    rows = Fetch.objects.filter(run_time._NOT_BY_INSTALLER, sandbox=mine).order_by("-id")[:50]
    assert "fetch_run_time" in rows.explain()
