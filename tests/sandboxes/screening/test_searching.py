"""Looking for advisories, and what one would hit before it is declared."""

import pytest

from portal.accounts.models import User
from sandboxes.screening import advisories, searching
from sandboxes.screening.models import Advisory
from sandboxes.screening.searching import Kind
from tests.portal.web import world
from tests.sandboxes.screening.documents import affected, document

pytestmark = pytest.mark.django_db


@pytest.fixture
def known(ada: User) -> None:
    put = [
        document("PYSEC-2026-1", affected("Some.Thing", versions=["1"]), modified="2026-03-01T00:00:00Z"),
        document("GHSA-abcd-1", affected("other", versions=["1"]), aliases=["CVE-2026-7"]),
        document("MAL-2025-1", affected("evil", versions=["1"]), modified="2025-01-01T00:00:00Z"),
        document("MAL-2025-2", affected("worse", versions=["1"]), modified="2025-02-01T00:00:00Z"),
        document(
            "PYSEC-2020-1",
            affected("old", versions=["1"]),
            withdrawn="2021-01-01T00:00:00Z",
            modified="2021-01-01T00:00:00Z",
        ),
    ]
    for each in put:
        advisories.put(each, by=ada)


def ids(*given: object) -> list[str]:
    return [row.pk for row in searching.search(*given)]  # type: ignore[arg-type]


@pytest.mark.usefixtures("known")
def test_malware_comes_first_then_the_newest_page_by_page() -> None:
    everything = ids()
    assert everything[:2] == ["MAL-2025-2", "MAL-2025-1"]
    assert everything[-1] == "PYSEC-2020-1"
    read: list[str] = []
    after: Advisory | None = None
    while page := list(searching.search(after=after)[:2]):
        read += [row.pk for row in page]
        after = page[-1]
    assert read == everything


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("some_thing", ["PYSEC-2026-1"]),
        ("ghsa-ABCD-1", ["GHSA-abcd-1"]),
        ("cve-2026-7", ["GHSA-abcd-1"]),
        ("mal-2025", ["MAL-2025-2", "MAL-2025-1"]),
        ("thing", []),
        ("\0", None),
    ],
)
def test_by_a_word(text: str, found: list[str] | None) -> None:
    assert ids(text) == (ids() if found is None else found)


@pytest.mark.usefixtures("known")
def test_by_kind(ada: User) -> None:
    ours = advisories.put({"affected": [affected("ours", versions=["1"])]}, by=ada)
    assert ids("", Kind.MALICIOUS) == ["MAL-2025-2", "MAL-2025-1"]
    assert ids("", Kind.WITHDRAWN) == ["PYSEC-2020-1"]
    assert ids("", Kind.OURS) == [ours.pk]
    assert set(ids("", Kind.VULNERABLE)) == {ours.pk, "PYSEC-2026-1", "GHSA-abcd-1"}


def test_what_it_would_hit(alice: User, bob: User) -> None:
    first, second, over = world.ready(alice), world.ready(bob), world.ready(bob)
    for box, version in ((first, "1.0"), (first, "1.5"), (second, "2.0"), (over, "1.0")):
        world.install(box, "demo", version)
    world.install(second, "other", "1.0")
    world.over(over)
    hit = searching.hits(
        searching.read(document("X-1", affected("Demo", [("introduced", "1.0"), ("fixed", "2")])))
    )
    assert (hit.installs, hit.sandboxes, hit.live, hit.versions) == (3, 2, 1, ("1.0", "1.5"))
    nothing = searching.hits(searching.read(document("X-1", affected("absent", versions=["1.0"]))))
    assert (nothing.installs, nothing.sandboxes, nothing.live) == (0, 0, 0)
