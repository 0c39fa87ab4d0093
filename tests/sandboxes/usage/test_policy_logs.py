"""What policies dropped, as rows beside the proxy's refusals, by the command and by the service."""

import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage import policy_logs, queries, run_time
from sandboxes.usage.models import Connection, Fetch, Install
from tests.sandboxes.usage.test_policy_lines import HUBBLE

START = timezone.now() - timedelta(hours=8)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def line(at: float, *, namespace: str = "sbx-mine", pod: str = "workspace-0", **changes: Any) -> str:
    flow = json.loads(HUBBLE)["flow"]
    flow["time"] = minute(at).isoformat()
    flow["source"].update(namespace=namespace, pod_name=pod)
    flow.update(changes)
    return json.dumps({"flow": flow})


def to(port: int) -> dict[str, Any]:
    return {"l4": {"TCP": {"destination_port": port}}}


def take(*lines: str, **options: Any) -> policy_logs.Taken:
    return policy_logs.take("\n".join(lines), **options)


def rows(sandbox: Sandbox) -> list[tuple[str, int, float, float, int]]:
    found = Connection.objects.filter(sandbox=sandbox, source="policy").order_by("at", "id")
    return [
        (row.host, row.port, _minutes(row.at), _minutes(row.seen_at or row.at), row.repeats) for row in found
    ]


def _minutes(at: datetime) -> float:
    return round((at - START).total_seconds() / 60, 3)


def test_a_drop_is_an_attempt_that_was_not_let_out(mine: Sandbox) -> None:
    taken = take(line(1))
    assert (taken.lines, taken.counted) == (1, 1)
    row = Connection.objects.get()
    assert (row.sandbox, row.source, row.allowed, row.protocol) == (mine, "policy", False, "tcp")
    assert (row.host, row.address, row.port) == ("203.0.113.7", "203.0.113.7", 443)
    assert (row.at, row.seen_at, row.reason) == (minute(1), minute(1), policy_logs.REASON)


def test_it_is_joined_with_what_was_downloaded_before(mine: Sandbox) -> None:
    filename = "dropper-1.0-py3-none-any.whl"
    given = {"sandbox": mine, "project": "dropper", "filename": filename, "at": minute(1)}
    Fetch.objects.create(kind="file", client="pip 26.3", **given)
    Install.objects.create(version="1.0", sha256="0" * 64, size=1, client="pip 26.3", **given)
    take(line(3), line(30))
    Connection.objects.create(sandbox=mine, host="a.example", port=443, allowed=False, at=minute(2))
    found = [(one.connection.source, one.connection.at, one.before) for one in run_time.denied(mine)]
    before = (run_time.Before("dropper", "1.0", minute(1)),)
    assert found == [
        ("policy", minute(30), ()),
        ("policy", minute(3), before),
        ("proxy", minute(2), before),
    ]
    assert run_time.recent([mine.pk])[mine.pk].attempts == 3


def test_what_the_proxy_was_asked_stays_apart(mine: Sandbox) -> None:
    take(line(1))
    Connection.objects.create(sandbox=mine, host="a.example", port=443, allowed=True)
    assert [row.source for row in queries.connections(mine)] == ["proxy"]


def test_a_loop_is_one_row_that_counts(mine: Sandbox) -> None:
    assert take(*(line(at / 10) for at in range(60))).counted == 60
    take(line(12), line(5.95))
    assert rows(mine) == [("203.0.113.7", 443, 0, 12, 61)]


def test_a_pause_begins_another_row(mine: Sandbox) -> None:
    take(line(0), line(11))
    assert rows(mine) == [("203.0.113.7", 443, 0, 0, 0), ("203.0.113.7", 443, 11, 11, 0)]


def test_each_destination_has_its_own(mine: Sandbox) -> None:
    take(line(0), line(0, **to(22)), line(0, destination_names=["evil.example"]))
    assert [row[:2] for row in rows(mine)] == [
        ("203.0.113.7", 443),
        ("203.0.113.7", 22),
        ("evil.example", 443),
    ]


def test_a_batch_that_is_sent_again_counts_no_second_time(mine: Sandbox) -> None:
    batch = [line(0), line(1), line(2, **to(22)), line(30)]
    assert (take(*batch).counted, take(*batch).known) == (4, 4)
    again = take(*batch, line(31))
    assert (again.counted, again.known) == (1, 4)
    assert [row[4] for row in rows(mine)] == [1, 0, 1]


def test_lines_that_come_late(mine: Sandbox) -> None:
    take(line(5))
    assert take(line(2)).counted == 1
    assert rows(mine) == [("203.0.113.7", 443, 2, 5, 1)]


def test_a_sandbox_has_only_so_many_rows(mine: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_logs, "MOST_ROWS", 3)
    batch = [line(port / 100, **to(port)) for port in range(1, 11)]
    assert take(*batch).counted == 10
    assert [row[4] for row in rows(mine)] == [0, 0, 7]
    assert take(*batch).counted == 0
    assert len(rows(mine)) == 3


def test_sandboxes_are_told_by_their_namespace(mine: Sandbox, bob: User) -> None:
    other = Sandbox.objects.create(
        name="o", namespace="sbx-o", owner=bob, profile="python", data_class="public", lease=timedelta(days=1)
    )
    taken = take(line(1), line(1, namespace="sbx-o"), line(1, namespace="kube-system"))
    assert (taken.counted, taken.elsewhere) == (2, 1)
    assert len(rows(mine)) == len(rows(other)) == 1


@pytest.mark.parametrize(("days", "counted"), [(1, 1), (3, 0)])
def test_one_that_ended_lately_still_counts(mine: Sandbox, days: int, counted: int) -> None:
    mine.ended_at = timezone.now() - timedelta(days=days)
    mine.save()
    taken = take(line(1))
    assert (taken.counted, taken.elsewhere) == (counted, 1 - counted)


@pytest.mark.parametrize(("cluster", "counted"), [("", 1), ("east", 1), ("west", 0)])
def test_another_clusters_namespace_of_that_name_is_not_it(mine: Sandbox, cluster: str, counted: int) -> None:
    assert take(line(1), cluster=cluster).counted == counted


def test_the_probe_is_left_out(mine: Sandbox) -> None:
    taken = take(line(1, pod="probe"))
    assert (taken.passed, taken.counted) == (1, 0)
    assert rows(mine) == []


def test_a_time_that_has_yet_to_come_is_not_believed(mine: Sandbox) -> None:
    taken = take(line(1), line(60 * 24 * 365))
    assert (taken.counted, taken.unknown, taken.named) == (1, 1, ["2: its time is ahead of ours"])


def test_lines_that_are_not_understood_are_counted_and_ten_are_named(mine: Sandbox) -> None:
    taken = take(*(["nonsense"] * 12), line(1))
    assert (taken.lines, taken.unknown, taken.counted) == (13, 12, 1)
    assert taken.named == [f"{number}: it is no JSON" for number in range(1, 11)]


def test_the_command(mine: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandboxes.usage.management.commands.import_policy_logs._AT_ONCE", 2)
    file = tmp_path / "events.log"
    file.write_text("\n".join([line(0), "", line(1), "nonsense", line(2, verdict="FORWARDED")]) + "\n")
    out, error = io.StringIO(), io.StringIO()
    call_command("import_policy_logs", str(file), stdout=out, stderr=error)
    assert out.getvalue() == "4 lines, 2 counted, 0 known, 1 passed, 0 elsewhere, 1 unknown\n"
    assert error.getvalue() == "  unknown: line 4: it is no JSON\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(file.read_text()))
    call_command("import_policy_logs", "-", cluster="east", stdout=out, stderr=error)
    assert "2 known" in out.getvalue()
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_policy_logs", str(tmp_path / "none"))
