"""Importing feeds: whatever they lie in, again and again, with what is broken in them."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError
from sandboxes.screening import feeds, queries, records, storage
from sandboxes.screening.feeds import import_feed
from sandboxes.screening.models import Advisory, Affected, Feed
from tests.sandboxes.screening.documents import affected, as_zip, document

pytestmark = pytest.mark.django_db

FIRST, SECOND, LATER = "PYSEC-2026-1", "PYSEC-2026-2", "2026-04-01T00:00:00Z"


def imported(source: Path) -> feeds.Counts:
    return import_feed(str(source), by=None)


def as_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def as_folder(path: Path, *documents: object) -> Path:
    (path / "2026").mkdir(parents=True)
    for number, each in enumerate(documents):
        as_json(path / "2026" / f"{number}.json", each)
    (path / "README.md").write_text("not a record")
    return path


SHAPES: dict[str, Callable[[Path], Path]] = {
    "one": lambda folder: as_json(folder / "one.json", document(FIRST)),
    "list": lambda folder: as_json(folder / "all.json", [document(FIRST)]),
    "folder": lambda folder: as_folder(folder / "feed", document(FIRST)),
    "zip": lambda folder: as_zip(folder / "all.zip", document(FIRST)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_it_lies_in(shape: str, tmp_path: Path) -> None:
    counts = imported(SHAPES[shape](tmp_path))

    assert (counts.read, counts.new, counts.broken) == (1, 1, 0)
    advisory = Advisory.objects.get()
    assert advisory.document == document(FIRST)
    assert (advisory.id, advisory.ecosystem, advisory.malicious) == (FIRST, "pypi", False)
    about = Affected.objects.get()
    assert (about.advisory, about.ecosystem, about.project) == (advisory, "pypi", "demo")
    assert about.ranges == [[["introduced", "0"], ["fixed", "2.0"]]]


def test_what_is_not_newer_is_not_written(tmp_path: Path) -> None:
    source = as_zip(tmp_path / "all.zip", document(FIRST), document(SECOND))
    imported(source)
    with CaptureQueriesContext(
        connection,
    ) as caught:
        counts = imported(source)

    assert (counts.new, counts.changed, counts.unchanged) == (0, 0, 2)
    written = [
        query["sql"] for query in caught if "screening_a" in query["sql"] and "SELECT" not in query["sql"]
    ]
    assert written == []
    locked = [
        query["sql"] for query in caught if "FOR UPDATE" in query["sql"] and "screening_a" in query["sql"]
    ]
    assert locked == []


def test_what_is_newer_replaces_all_that_was_said(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", [document(FIRST), document(SECOND)]))
    changed = document(FIRST, affected("other", versions=["1.0"]), modified=LATER, aliases=["MAL-2026-7"])
    counts = imported(as_json(tmp_path / "a.json", [changed, document(SECOND)]))

    assert (counts.new, counts.changed, counts.unchanged) == (0, 1, 1)
    assert Advisory.objects.get(pk=FIRST).malicious
    about = Affected.objects.get(advisory=FIRST)
    assert (about.project, about.versions, about.ranges) == ("other", ["1"], [])
    assert Affected.objects.get(advisory=SECOND).project == "demo"


def test_an_older_copy_changes_nothing(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", document(FIRST, modified=LATER, summary="new")))
    counts = imported(as_json(tmp_path / "b.json", document(FIRST, summary="old")))
    assert counts.unchanged == 1
    assert Advisory.objects.get().summary == "new"


def test_of_one_id_the_newest_counts(tmp_path: Path) -> None:
    both = [document(FIRST, modified=LATER, summary="new"), document(FIRST, summary="old")]
    for order in (both, both[::-1]):
        counts = imported(as_json(tmp_path / "a.json", order))
        assert counts.read == 2
        assert Advisory.objects.get().summary == "new"


def test_withdrawn_and_restored(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", document(FIRST)))
    counts = imported(as_json(tmp_path / "a.json", document(FIRST, modified=LATER, withdrawn=LATER)))
    assert (counts.changed, counts.withdrawn, counts.restored) == (1, 1, 0)
    assert Advisory.objects.get().withdrawn_at == datetime(2026, 4, 1, tzinfo=UTC)

    counts = imported(as_json(tmp_path / "a.json", document(FIRST, modified="2026-05-01T00:00:00Z")))
    assert (counts.changed, counts.withdrawn, counts.restored) == (1, 0, 1)
    assert Advisory.objects.get().withdrawn_at is None


def test_about_nothing_that_is_served_here(tmp_path: Path) -> None:
    other = document(SECOND, {"package": {"ecosystem": "Go", "name": "demo"}, "versions": ["1"]})
    counts = imported(as_json(tmp_path / "a.json", [document(FIRST), other]))
    assert (counts.new, counts.elsewhere) == (1, 1)
    assert [each.pk for each in Advisory.objects.all()] == [FIRST]


def test_a_project_taken_out_of_a_record_is_free_again(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", document(FIRST)))
    counts = imported(as_json(tmp_path / "a.json", document(FIRST, modified=LATER, affected=[])))
    assert counts.changed == 1
    assert not Affected.objects.exists()


BROKEN: list[object] = [
    "{ this is no JSON",
    b"\xff\xfe\xff",
    "[" * 200_000,
    {"modified": "2026-01-01T00:00:00Z"},
    document("X-1", affected("no name", versions=["1"])),
    document("PETRI-2026-1"),
]


def test_broken_records_are_skipped_counted_and_named(tmp_path: Path) -> None:
    counts = imported(as_zip(tmp_path / "all.zip", document(FIRST), *BROKEN, document(SECOND)))

    assert (counts.read, counts.new, counts.broken) == (8, 2, 6)
    assert [name.partition(":")[0] for name in counts.broken_named] == [f"0000{n}.json" for n in range(1, 7)]
    assert "id of our own" in counts.broken_named[-1]
    assert Advisory.objects.count() == 2


def test_many_broken_ones_are_all_counted(tmp_path: Path) -> None:
    counts = imported(as_json(tmp_path / "a.json", [document(FIRST), *range(50)]))
    assert (counts.new, counts.broken, len(counts.broken_named)) == (1, 50, 20)


REFUSES = """
    CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}'; END $$;
    CREATE TRIGGER refuses BEFORE INSERT ON screening_advisory
    FOR EACH ROW WHEN (new.id IN ('X-3', 'X-7')) EXECUTE FUNCTION refuses();
"""


@pytest.mark.parametrize("code", ["22P05", "54001"])  # untranslatable character; statement too complex
def test_those_that_the_database_refuses_do_not_take_their_batch_along(code: str, tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute(REFUSES.format(code=code))
    counts = imported(as_json(tmp_path / "a.json", [document(f"X-{number}") for number in range(10)]))
    assert (counts.new, counts.broken) == (8, 2)
    assert counts.broken_named == [f"X-{n}: the database refuses it: not this one" for n in (3, 7)]
    assert Advisory.objects.count() == Affected.objects.count() == 8


def test_that_the_database_cannot_write_at_all_is_no_records_fault(tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute(REFUSES.format(code="53100"))  # disk full
    with pytest.raises(OperationalError):
        imported(as_json(tmp_path / "a.json", [document(f"X-{number}") for number in range(10)]))


def test_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BATCH", 3)
    counts = imported(as_json(tmp_path / "a.json", [document(f"PYSEC-2026-{n}") for n in range(10)]))
    assert counts.new == Advisory.objects.count() == 10


# Archives that lie or are far too large.


def test_a_member_too_large_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_RECORD", 10_000)
    bomb = json.dumps(document("X-1", details="0" * 1_000_000))
    counts = imported(as_zip(tmp_path / "all.zip", document(FIRST), bomb))
    assert (counts.new, counts.broken) == (1, 1)


def test_a_zip_that_unpacks_to_too_much_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_UNPACKED", 2000)
    with pytest.raises(InvalidInputError, match="unpacks to more"):
        imported(as_zip(tmp_path / "all.zip", *[document(f"X-{n}") for n in range(50)]))


def test_a_zip_with_an_endless_list_of_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_DIRECTORY", 1000)
    with pytest.raises(InvalidInputError, match="list of members"):
        imported(as_zip(tmp_path / "all.zip", *[document(f"X-{n}") for n in range(50)]))


def test_a_damaged_member_is_broken(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "all.zip", document(FIRST), document(SECOND))
    with zipfile.ZipFile(path) as archive:
        second = archive.infolist()[1]
    data = bytearray(path.read_bytes())
    start = second.header_offset + 30 + len(second.filename)
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    counts = imported(path)
    assert (counts.new, counts.broken) == (1, 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"[]", b"{}", b"<html>Sorry</html>"])
def test_a_source_without_any_record_is_no_success(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "feed").write_bytes(content)
    with pytest.raises(InvalidInputError):
        imported(tmp_path / "feed")
    assert not Feed.objects.exclude(succeeded_at=None).exists()


# What is kept of an import.


def test_the_ledger_has_one_entry_with_the_counts(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", [document(FIRST), 5]))
    entry = Entry.objects.get(action="advisories.imported")
    assert entry.subject == f"feed:{tmp_path}/a.json"
    assert (entry.data["new"], entry.data["broken"]) == (1, 1)
    assert entry.data["broken_named"][0].startswith("a.json[2]")


def test_the_feed_knows_its_age(tmp_path: Path) -> None:
    imported(as_json(tmp_path / "a.json", [document(FIRST), document(SECOND, modified=LATER)]))
    feed = Feed.objects.get()
    assert feed.newest_modified == datetime(2026, 4, 1, tzinfo=UTC)
    assert feed.succeeded_at is not None
    now = feed.succeeded_at + timedelta(hours=3)
    assert queries.age(feed, now) == timedelta(hours=3)
    assert queries.behind(now, timedelta(hours=2)) == [feed]
    assert queries.behind(now, timedelta(hours=4)) == []


def test_a_failure_leaves_the_age_and_says_why(tmp_path: Path) -> None:
    source = as_json(tmp_path / "a.json", document(FIRST))
    imported(source)
    before = Feed.objects.get()
    source.write_text("[]")
    with pytest.raises(InvalidInputError):
        imported(source)
    feed = Feed.objects.get()
    assert (feed.succeeded_at, feed.newest_modified) == (before.succeeded_at, before.newest_modified)
    assert "no advisory" in feed.error
    assert Entry.objects.get(action="advisories.import_failed").data["error"] == feed.error
    imported(as_json(source, document(SECOND)))
    assert Feed.objects.get().error == ""


def test_one_that_never_came_is_behind_whatever_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        imported(as_json(tmp_path / "a.json", [5]))
    feed = Feed.objects.get()
    assert queries.behind(feed.attempted_at, timedelta(days=1)) == [feed]


def test_a_slip_of_the_keyboard_is_no_feed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        imported(tmp_path / "nowhere")
    assert not Feed.objects.exists()
    assert not Entry.objects.filter(action__startswith="advisories").exists()


def test_what_a_killed_import_wrote_gets_into_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "BATCH", 1)
    write = storage.write

    def dies(given: Any, **options: Any) -> storage.Written:
        if given and given[0].id == SECOND:
            raise KeyboardInterrupt
        return write(given, **options)

    source = as_json(tmp_path / "a.json", [document(FIRST), document(SECOND)])
    monkeypatch.setattr(storage, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        imported(source)
    assert not Entry.objects.filter(action__startswith="advisories").exists()

    monkeypatch.setattr(storage, "write", write)
    counts = imported(source)
    assert (counts.new, counts.unchanged) == (1, 1)
    assert Entry.objects.get(action="advisories.import_interrupted").data["new"] == 1
    assert Entry.objects.get(action="advisories.imported").data["new"] == 1
    assert Feed.objects.get().unrecorded is None


def test_one_import_at_a_time(tmp_path: Path) -> None:
    place = connection.get_connection_params()
    wanted = {name: place[name] for name in ("host", "port", "user", "password", "dbname") if place.get(name)}
    source = as_json(tmp_path / "a.json", document(FIRST))
    with psycopg.connect(**wanted, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [feeds._IMPORT_LOCK])
        with pytest.raises(ConflictError, match="imported already"):
            imported(source)
        other.execute("SELECT pg_advisory_unlock(%s)", [feeds._IMPORT_LOCK])
    assert imported(source).new == 1
    assert imported(source).unchanged == 1  # the lock was given back


# The command.


def test_the_command_tells(tmp_path: Path) -> None:
    out, err = StringIO(), StringIO()
    source = as_json(tmp_path / "a.json", [document(FIRST), document(SECOND), *range(30)])
    call_command("import_advisories", str(source), stdout=out, stderr=err)
    assert out.getvalue().startswith("32 records: 2 new, 0 changed")
    assert "skipped a.json[3]: it is no JSON object" in err.getvalue()
    assert "and 10 more" in err.getvalue()


def test_the_command_fails_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_advisories", str(tmp_path / "nowhere"))


def test_a_name_without_secrets() -> None:
    assert records.named("https://ada:secret@feeds.example.com:8443/all.zip?token=x#y") == (
        "https://feeds.example.com:8443/all.zip"
    )
