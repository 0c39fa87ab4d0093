"""An upstream's packument is a stranger's bytes: what is wrong with one version leaves the others."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.index.errors import UpstreamError
from sandboxes.index.knowledge import Knowledge
from sandboxes.index.npm import reading
from sandboxes.index.npm.packument import Packument
from sandboxes.index.npm.packuments import sighted
from sandboxes.index.npm.reading import parse
from sandboxes.index.npm.render import Form, form_for, render
from sandboxes.index.npm.view import View, make_view
from sandboxes.index.policy.policy import Policy
from tests.sandboxes.index.conftest import PORTAL
from tests.sandboxes.index.npm.registry_server import RegistryServer, make_tarball

BASE = "https://registry.example/demo"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def document(*versions: str) -> dict[str, Any]:
    registry = RegistryServer()
    registry.add(*(make_tarball(version=version) for version in versions))
    return registry.document("demo")


def read(given: dict[str, Any]) -> Packument:
    return parse("demo", json.dumps(given).encode(), BASE)


def seen(packument: Packument, policy: Policy | None = None) -> View:
    shown = sighted(packument, NOW, None, None)
    return make_view(shown, policy or Policy(), Knowledge(), {}, NOW, PORTAL)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*reading._SHORT, *reading._MORE, "dist", "scripts", "deprecated", "name", "version"]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
    st.dictionaries(
        st.sampled_from(["dist-tags", "time", "versions", "description", "_id"]), JSON, max_size=3
    ),
    st.dictionaries(st.text(max_size=10), JSON, max_size=3),
)
def test_anything_leaves_what_can_be_stored_and_shown(
    manifest: dict[str, Any], top: dict[str, Any], others: dict[str, Any]
) -> None:
    given = document("1.0.0", "1.1.0")
    given["versions"]["1.1.0"] |= manifest
    if isinstance(given["versions"], dict):
        given["versions"] |= others
    packument = read(given | top)
    if "versions" not in top:
        assert packument.find("1.0.0") is not None
    assert Packument.load(packument.document()) == packument
    view = seen(packument)
    for form in Form:
        shown = json.loads(render(packument, view, form, "http://index.example"))
        assert shown["name"] == "demo"
        for version, each in shown["versions"].items():
            assert each["version"] == version
            assert each["dist"]["tarball"].startswith("http://index.example/npm/demo/-/demo-")
            assert isinstance(each.get("dependencies", {}), dict)
        assert all(isinstance(version, str) for version in shown["dist-tags"].values())


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_packument_or_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        parse("demo", body, BASE)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"name": "demo", "x": ' + b"9" * 10_000 + b"}"])
def test_what_breaks_parsers_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        parse("demo", body, BASE)


@pytest.mark.parametrize(
    "manifest",
    [
        {"name": "other"},
        {"version": "1.0.1"},
        {"dist": None},
        {"dist": {"tarball": "x.tgz", "shasum": "0" * 40}},
        {"dist": {"tarball": "ftp://h/x", "integrity": make_tarball().integrity}},
        {"dist": {"tarball": "http://[", "integrity": make_tarball().integrity}},
        {"dist": {"tarball": 3, "integrity": make_tarball().integrity}},
        {"dependencies": {f"p{number}": "1" * 1000 for number in range(300)}},
    ],
)
def test_a_version_that_could_not_be_had_is_left_out(manifest: dict[str, Any]) -> None:
    given = document("1.0.0", "1.1.0")
    given["versions"]["1.0.0"] |= manifest
    packument = read(given)
    assert [release.version for release in packument.releases] == ["1.1.0"]
    given["dist-tags"]["old"] = "1.0.0"
    assert read(given).tags == {"latest": "1.1.0"}


def test_fields_of_a_wrong_type_are_dropped_and_poison_too() -> None:
    given = document("1.0.0")
    given["versions"]["1.0.0"] |= {
        "dependencies": {"leaf": "^1", "__proto__": "x", "constructor": "y", "odd": 3},
        "bin": ["no"],
        "engines": ["node"],
        "os": "linux",
        "funding": {"url": "u", "__proto__": {"x": "y"}},
        "unknown": "x",
    }
    given["dist-tags"]["__proto__"] = "1.0.0"
    [release] = read(given).releases
    assert json.loads(f"{{{release.short}}}") == {
        "dependencies": {"leaf": "^1"},
        "os": ["linux"],
        "funding": {"url": "u"},
    }
    assert read(given).tags == {"latest": "1.0.0"}


def test_too_many_versions_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_VERSIONS", 1)
    with pytest.raises(UpstreamError, match="more than 1 versions"):
        read(document("1.0.0", "1.1.0"))


@pytest.mark.parametrize(
    ("versions", "fresh", "tags", "shown"),
    [
        (["1.0.0", "2.0.0"], ["2.0.0"], {}, {"latest": "1.0.0"}),
        (["1.0.0", "1.1.0-beta.1", "2.0.0"], ["2.0.0"], {}, {"latest": "1.0.0"}),
        (["1.0.0", "3.0.0"], ["1.0.0"], {"latest": "1.0.0"}, {"latest": "3.0.0"}),
        (["1.0.0"], ["1.0.0"], {}, {"latest": "1.0.0"}),
        (["2.0.0-rc.1", "2.0.0-rc.2"], ["2.0.0-rc.2"], {"next": "2.0.0-rc.2"}, {"next": "2.0.0-rc.1"}),
        (["1.0.0", "2.0.0-rc.2"], ["2.0.0-rc.2"], {"next": "2.0.0-rc.2"}, {"next": "1.0.0"}),
        (["2.0.0-rc.2", "3.0.0"], ["2.0.0-rc.2"], {"next": "2.0.0-rc.2"}, {"next": "2.0.0-rc.2"}),
    ],
)
def test_tags_point_to_what_is_given(
    versions: list[str], fresh: list[str], tags: dict[str, str], shown: dict[str, str]
) -> None:
    given = document(*versions)
    given["dist-tags"] = tags or given["dist-tags"]
    given["time"] |= dict.fromkeys(fresh, "2026-05-31T00:00:00Z")
    view = seen(read(given))
    assert (set(view.refused), view.tags) == (set(fresh), shown)


def test_a_tag_avoids_deprecated_versions() -> None:
    given = document("1.0.0", "1.1.0", "2.0.0")
    given["versions"]["1.1.0"]["deprecated"] = "broken"
    given["time"]["2.0.0"] = "2026-05-31T00:00:00Z"
    assert seen(read(given)).tags == {"latest": "1.0.0"}


def test_many_refusals_are_told_of_the_newest() -> None:
    given = document(*(f"1.{minor}.0" for minor in range(60)))
    given["time"] = dict.fromkeys(given["time"], "2026-05-31T00:00:00Z")
    lines = seen(read(given)).message.splitlines()
    assert len(lines) == 51
    assert lines[0].startswith("demo@1.59.0: [cooldown] ")
    assert lines[-1].startswith("and 10 older versions: ")


def test_deprecated_is_what_yanked_is_elsewhere() -> None:
    given = document("1.0.0", "1.1.0")
    given["versions"]["1.1.0"]["deprecated"] = "broken"
    assert not seen(read(given)).refused
    assert set(seen(read(given), Policy(yanked=False)).refused) == {"1.1.0"}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.FULL),
        ("*/*", Form.FULL),
        ("application/json", Form.FULL),
        ("application/vnd.npm.install-v1+json", Form.SHORT),
        ("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*", Form.SHORT),
        ("application/vnd.npm.install-v1+json; q=0.1, application/json", Form.FULL),
        ("application/vnd.npm.install-v1+json; q=0", Form.FULL),
    ],
)
def test_forms(accept: str, form: Form) -> None:
    assert form_for(accept) is form
