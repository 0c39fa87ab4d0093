"""The ledger: nothing in it can be changed, and if somebody manages to, it is found."""

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction

from portal.accounts.models import User
from sandboxes.audit import anchor, queries
from sandboxes.audit.models import Entry
from sandboxes.audit.services import record, verify
from sandboxes.errors import PermanentError


def _anchor_file() -> Path:
    return Path(settings.LEDGER_ANCHOR)


@pytest.fixture(autouse=True)
def own_anchor(tmp_path: Path, settings: object) -> None:
    settings.LEDGER_ANCHOR = tmp_path / "head.json"  # type: ignore[attr-defined]


def _write(count: int, actor: User | None = None) -> list[Entry]:
    return [
        record(
            actor=actor, action="test.written", subject=f"test:{number}", data={"number": number, "text": "ü"}
        )
        for number in range(1, count + 1)
    ]


def _tamper(statement: str) -> None:
    """What somebody with the database's owner's rights could do."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_rows")
        cursor.execute(statement)
        cursor.execute("ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_rows")


@pytest.mark.django_db
class TestChain:
    def test_an_untouched_ledger_holds(self, alice: User) -> None:
        _write(3, alice)
        result = verify()
        assert (result.ok, result.entries, result.first_broken) == (True, 3, None)

    def test_entries_are_numbered_without_gaps_and_keep_the_actors_name(self, alice: User) -> None:
        entries = _write(3, alice)
        assert [entry.pk for entry in entries] == [1, 2, 3]
        assert entries[1].previous == entries[0].mac
        assert (entries[0].actor, entries[0].actor_id) == ("alice", alice.pk)

    @pytest.mark.parametrize(
        ("statement", "broken", "reason"),
        [
            ("UPDATE audit_entry SET data = '{\"number\": 9}' WHERE id = 2", 2, "changed"),
            ("UPDATE audit_entry SET actor = 'mallory' WHERE id = 2", 2, "changed"),
            ("UPDATE audit_entry SET at = at + interval '1 microsecond' WHERE id = 3", 3, "changed"),
            ("DELETE FROM audit_entry WHERE id = 2", 3, "missing"),
            ("DELETE FROM audit_entry WHERE id = 1", 2, "missing"),
            ("UPDATE audit_entry SET previous = repeat('0', 64) WHERE id = 3", 3, "follow"),
        ],
    )
    def test_the_first_broken_entry_is_named(self, statement: str, broken: int, reason: str) -> None:
        _write(4)
        _tamper(statement)
        result = verify()
        assert (result.ok, result.first_broken) == (False, broken)
        assert reason in result.reason

    @pytest.mark.parametrize(("left", "broken"), [(2, 3), (0, 1)])
    def test_an_end_that_was_cut_off_is_missed(self, left: int, broken: int) -> None:
        _write(4)
        anchor.keep()
        assert verify().ok
        _tamper(f"DELETE FROM audit_entry WHERE id > {left}")  # noqa: S608 -- a number of our own
        result = verify()
        assert (result.ok, result.entries, result.first_broken) == (False, left, broken)
        assert "anchored outside" in result.reason
        anchor.keep()  # a later look does not cover it up
        assert not verify().ok

    def test_a_ledger_begun_anew_is_not_the_one_that_was_anchored(self) -> None:
        _write(2)
        anchor.keep()
        _tamper("DELETE FROM audit_entry")
        _write(3)
        result = verify()
        assert (result.ok, result.first_broken) == (False, 2)

    def test_an_anchor_that_cannot_be_read_is_no_proof(self) -> None:
        _write(1)
        _anchor_file().write_text("{")
        with pytest.raises(PermanentError, match="cannot be read"):
            verify()

    def test_a_new_key_cannot_pass_for_the_old_one(self, settings: object) -> None:
        _write(2)
        settings.LEDGER_KEY = b"another"  # type: ignore[attr-defined]
        assert verify().first_broken == 1

    def test_the_command_names_it_and_fails(self) -> None:
        _write(2)
        out = StringIO()
        call_command("verify_ledger", stdout=out)
        assert "2 entries" in out.getvalue()
        _tamper("UPDATE audit_entry SET subject = 'test:9' WHERE id = 2")
        with pytest.raises(CommandError, match="Entry 2 is broken"):
            call_command("verify_ledger")


@pytest.mark.django_db(transaction=True)
def test_recording_outside_a_transaction_is_a_mistake() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        record(actor=None, action="test", subject="test:1")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry WHERE id = 1", "TRUNCATE audit_entry"],
)
def test_the_database_refuses_changes(statement: str) -> None:
    _write(2)
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_table"
        )  # off for other tests
    with pytest.raises(Error, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Entry.objects.count() == 2


@pytest.mark.django_db
def test_reads_go_by_number() -> None:
    _write(5)
    assert [entry.pk for entry in queries.after(2, 2)] == [3, 4]
    assert [entry.pk for entry in queries.newest(4, 2)] == [3, 2]
    assert [entry.pk for entry in queries.newest(None, 2)] == [5, 4]
    assert [entry.pk for entry in queries.about("test:3")] == [3]
