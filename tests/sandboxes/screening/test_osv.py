"""Reading one record: what counts, what is left, and what is no record at all."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandboxes.screening import osv
from sandboxes.screening.osv import BrokenRecordError
from sandboxes.screening.words import Ecosystem, Severity
from tests.sandboxes.screening.documents import affected, document

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
V2 = "AV:N/AC:L/Au:N/C:P/I:P/A:P"  # 7.5
V3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"  # 9.8
V3_LOW = "CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L"  # 2.5
V3_NONE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"  # 0.0
V4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"  # 9.3


def read(*entries: dict[str, Any], **more: Any) -> osv.Record:
    return osv.read(document(more.pop("id", "PYSEC-2026-1"), *entries, **more), NOW)


def scored(score: str, kind: str = "CVSS_V3") -> dict[str, Any]:
    return {"severity": [{"type": kind, "score": score}]}


RATINGS: list[tuple[str, dict[str, Any], Severity | None]] = [
    ("nobody rated it", {}, None),
    ("CVSS 2", scored(V2, "CVSS_V2"), Severity.HIGH),
    ("CVSS 3", scored(V3), Severity.CRITICAL),
    ("CVSS 3, low", scored(V3_LOW), Severity.LOW),
    ("CVSS 3, a score of nothing", scored(V3_NONE), Severity.LOW),
    ("CVSS 4", scored(V4, "CVSS_V4"), Severity.CRITICAL),
    ("GitHub's word", {"database_specific": {"severity": "MODERATE"}}, Severity.MEDIUM),
    ("a word as a score", scored("medium", "Ubuntu"), Severity.MEDIUM),
    ("the higher of both", scored(V3) | {"database_specific": {"severity": "LOW"}}, Severity.CRITICAL),
    ("the highest of two", {"severity": scored(V3_LOW)["severity"] + scored(V2)["severity"]}, Severity.HIGH),
    ("a vector that is none", scored("CVSS:3.1/AV:N"), None),
    ("a vector of another kind than it says", scored(V4, "CVSS_V3"), Severity.CRITICAL),
    ("a number", {"severity": [{"type": "CVSS_V3", "score": 9.8}]}, None),
    ("no list", {"severity": "high"}, None),
    ("a word nobody knows", {"database_specific": {"severity": "terrible"}}, None),
    ("a vector without an end", scored("CVSS:3.1/" + "AV:N/" * 100_000), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "expected"), [case[1:] for case in RATINGS], ids=[case[0] for case in RATINGS]
)
def test_severity(more: dict[str, Any], expected: Severity | None) -> None:
    assert read(**more).severity == expected


def test_severity_of_one_project_counts_only_if_it_is_served_here() -> None:
    ours = affected("demo", versions=["1"], **scored(V3_LOW))
    other = {"package": {"ecosystem": "Go", "name": "demo"}, "versions": ["1"], **scored(V3)}
    assert read(ours, other).severity is Severity.LOW


@pytest.mark.parametrize(
    ("identity", "more", "expected"),
    [
        ("MAL-2026-1", {}, True),
        ("GHSA-aaaa-bbbb-cccc", {"aliases": ["CVE-2026-1", "MAL-2026-1"]}, True),
        ("GHSA-aaaa-bbbb-cccc", {"related": ["MAL-2026-1"]}, False),
        ("GHSA-aaaa-bbbb-cccc", {"database_specific": {"malicious": True}}, False),
        ("PETRI-2026-1", {"database_specific": {"malicious": True}}, True),
        ("PETRI-2026-1", {"database_specific": {"malicious": "no"}}, False),
        ("MALLOC-1", {}, False),
    ],
)
def test_malicious(identity: str, more: dict[str, Any], expected: bool) -> None:
    assert read(id=identity, **more).malicious is expected


def test_names_and_versions_have_one_spelling() -> None:
    record = read(
        affected("Demo_Project", versions=["1.0", "1.0.0", "v2.0-beta.1", "not a version"]),
        affected("@Scope/JSONStream", ecosystem=Ecosystem.NPM, versions=["1.0.0+build", "1.0.0"]),
    )
    assert [each.project for each in record.affected] == ["demo-project", "@Scope/JSONStream"]
    assert record.affected[0].versions == ("1", "2b1", "not a version")
    assert record.affected[1].versions == ("1.0.0",)


def test_commits_are_no_versions_and_other_ecosystems_are_not_ours() -> None:
    commits = {"type": "GIT", "repo": "https://example.com", "events": [{"introduced": "0"}]}
    assert read(affected("demo", ranges=[commits])).affected == ()
    assert read({"package": {"ecosystem": "Go", "name": "demo"}, "versions": ["1"]}).affected == ()
    assert read({"ranges": [commits]}).affected == ()
    (one,) = read(affected("demo", versions=["1"], ranges=[commits])).affected
    assert one.ranges == ()


def test_an_ecosystem_with_a_suffix_is_the_ecosystem() -> None:
    (one,) = read({"package": {"ecosystem": "PyPI:mirror", "name": "demo"}, "versions": ["1"]}).affected
    assert one.ecosystem is Ecosystem.PYPI


def test_malware_that_names_no_version_means_all_of_them() -> None:
    (one,) = read(affected("demo"), id="MAL-2026-1").affected
    assert one.ranges == ((("introduced", "0"),),)
    assert read(affected("demo")).affected == ()


def test_a_range_without_a_beginning_begins_at_nothing() -> None:
    (one,) = read(affected("demo", [("fixed", "2")])).affected
    assert one.ranges == ((("introduced", "0"), ("fixed", "2")),)


def test_times() -> None:
    record = read(
        modified="2026-03-01T14:00:00.123456789+02:00",
        published="2026-01-01T00:00:00",
        withdrawn="2026-04-01",
    )
    assert record.modified == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert record.published == datetime(2026, 1, 1, tzinfo=UTC)
    assert record.withdrawn_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert read(modified="9999-12-31T23:59:59Z").modified == NOW  # or it could never be corrected


def test_summary_is_one_line() -> None:
    assert read(summary="A hole", details="Long").summary == "A hole"
    assert read(details="\nFirst line\nsecond").summary == "First line"
    assert len(read(details="x" * 5000).summary) == 300
    assert read().summary == ""


def test_what_the_database_cannot_keep_is_replaced_and_nothing_else() -> None:
    record = read(details="a\0b\ud800c 🐍", credits=[{"na\0me": 1}])
    kept = json.loads(record.document)
    assert kept["details"] == "a\ufffdb\ufffdc 🐍"
    assert kept["credits"] == [{"na\ufffdme": 1}]
    assert record.summary == kept["details"]


def nested(levels: int) -> Any:
    value: Any = "\0"
    for _ in range(levels):
        value = [value]
    return value


BROKEN: list[tuple[str, object]] = [
    ("a list", []),
    ("nothing", None),
    ("no id", {"modified": "2026-03-01T12:00:00Z"}),
    ("an id that is a number", document() | {"id": 5}),
    ("an id that is a path", document("../x")),
    ("an id with a line feed", document("X-1\n")),
    ("an endless id", document("X" * 5000)),
    ("no modified", document(modified=None)),
    ("modified is no time", document(modified="yesterday")),
    ("modified is a number", document(modified=1)),
    ("modified is out of all time", document(modified="0001-01-01T00:00:00+14:00")),
    ("withdrawn is no time", document(withdrawn=True)),
    ("affected is no list", document(affected={})),
    ("affected holds a text", document(affected=["demo"])),
    ("a package that is a text", document(affected=[{"package": "demo"}])),
    ("no name", document(affected=[{"package": {"ecosystem": "PyPI"}, "versions": ["1"]}])),
    ("a name that is none", document("X-1", affected("de mo", versions=["1"]))),
    ("versions that are numbers", document("X-1", affected("demo") | {"versions": [1.0]})),
    ("ranges that are texts", document("X-1", affected("demo") | {"ranges": ["<2"]})),
    (
        "events that are texts",
        document("X-1", affected("demo") | {"ranges": [{"type": "ECOSYSTEM", "events": ["0"]}]}),
    ),
    (
        "an event at a number",
        document("X-1", affected("demo") | {"ranges": [{"type": "SEMVER", "events": [{"fixed": 2}]}]}),
    ),
    ("aliases that are one text", document(aliases="CVE-2026-1")),
    ("infinity", document(details=float("inf"))),
    ("deep, with something to replace", document(details=nested(200))),
    ("far too deep", document(details=nested(100_000))),
]


@pytest.mark.parametrize("broken", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken(broken: object) -> None:
    with pytest.raises(BrokenRecordError) as caught:
        osv.read(broken, NOW)
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["id", "modified", "affected", "aliases", "severity", "summary", "database_specific"]
)
INSIDE = st.sampled_from(["package", "versions", "ranges", "severity"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(FIELDS, JSON), st.dictionaries(INSIDE, JSON))
def test_whatever_comes_is_read_or_broken(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    entry = affected("demo", [("introduced", "0")]) | inner
    try:
        record = osv.read(document("X-1", entry) | outer, NOW)
    except BrokenRecordError:
        return
    json.loads(record.document)
    assert "\\u0000" not in record.document
