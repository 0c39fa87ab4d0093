"""The ledger: nothing in it can be changed, and if somebody manages to, it is found."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction

from portal.accounts.models import User
from sandboxes.audit import queries
from sandboxes.audit.models import Entry
from sandboxes.audit.services import record, verify


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
