"""Credentials planted in sandboxes: what they are, that they are where a thief looks, and what their use leads to."""

import base64
import configparser
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from portal.accounts.models import User
from sandboxes.audit.models import Entry
from sandboxes.cluster.driver import Cluster
from sandboxes.cluster.kinds import kind
from sandboxes.lifecycle import bait, bait_shape, honeytokens
from sandboxes.lifecycle.bait import Kind
from sandboxes.lifecycle.models import Alarm, Honeytoken, HoneytokenUse, Sandbox
from sandboxes.lifecycle.phases import Phase
from tests.portal.web import world

SECRET = kind("v1", "Secret")


@pytest.fixture
def box(alice: User) -> Sandbox:
    """Alice's sandbox, ready, with what is planted in it."""
    sandbox = world.ready(alice)
    honeytokens.plant(sandbox)
    return sandbox


def use(sandbox: Sandbox, which: Kind = Kind.AWS, seen_in: Sandbox | None = None) -> HoneytokenUse:
    """As the index writes one down."""
    token = Honeytoken.objects.get(sandbox=sandbox, kind=which)
    return HoneytokenUse.objects.create(
        token=token, seen_in=seen_in or sandbox, method="GET", path="/honey/…/aws", address="10.0.0.9"
    )


# ---- what they are


def test_each_sandbox_has_its_own_and_the_same_ones_every_time() -> None:
    assert bait.files(7) == bait.files(7)
    shown = [each.shown for sandbox in (7, 8) for each in bait.baits(sandbox)]
    assert len(set(shown)) == len(shown) == 8
    assert all(bait.files(7)[name] != bait.files(8)[name] for name in bait.files(7))


def test_another_installation_plants_others(settings: object) -> None:
    before = bait.files(7)
    settings.SANDBOX_KEY = b"x" * 32  # type: ignore[attr-defined]
    assert all(bait.files(7)[name] != before[name] for name in before)


def test_the_shapes_that_the_endpoint_looks_for() -> None:
    patterns = {
        Kind.AWS: bait_shape.AWS_PATTERN,
        Kind.PYPI: bait_shape.PYPI_PATTERN,
        Kind.SSH: bait_shape.TAG_PATTERN,
        Kind.PLACE: bait_shape.TAG_PATTERN,
    }
    for sandbox in range(50):
        for each in bait.baits(sandbox):
            assert re.fullmatch(patterns[each.kind], each.shown)


def test_the_access_key_is_as_scanners_know_them_and_as_amazon_makes_none() -> None:
    given = configparser.ConfigParser()
    given.read_string(bait.files(7)["aws-credentials"])
    key_id = given["default"]["aws_access_key_id"]
    assert re.fullmatch(r"AKIA[0-9A-Z]{16}", key_id)
    assert not re.fullmatch(r"AKIA[A-Z2-7]{16}", key_id)
    assert len(given["default"]["aws_secret_access_key"]) == 40


def test_the_ssh_key_is_one() -> None:
    files = bait.files(7)
    key = load_ssh_private_key(files["ssh-key"].encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert files["ssh-key-public"].split()[:2] == public.decode().split()
    load_ssh_public_key(files["ssh-key-public"].encode())


def test_all_of_them_point_at_us_and_nowhere_else(settings: object) -> None:
    settings.INDEX_URL = "https://index.example:8443/pkgs"  # type: ignore[attr-defined]
    for name in ("aws-config", "ssh-config", "pypirc"):
        (url,) = re.findall(r"https?://[^\s']+", bait.files(7)[name])
        assert url.startswith("https://index.example:8443/pkgs/honey/")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://10.0.0.1:8081", "10.0.0.1", "8081"),
        ("http://[2001:db8::1]:8081", "2001:db8::1", "8081"),
        ("http://index.example", "index.example", "80"),
    ],
)
def test_the_ssh_host_is_the_index_itself(settings: object, url: str, host: str, port: str) -> None:
    settings.INDEX_URL = url  # type: ignore[attr-defined]
    words = dict(line.split(maxsplit=1) for line in bait.files(7)["ssh-config"].splitlines())
    assert (words["HostName"], words["Port"]) == (host, port)
    place = next(each.shown for each in bait.baits(7) if each.kind == Kind.PLACE)
    assert words["User"] == f"{bait_shape.USER}{place}"


def test_behind_https_ssh_asks_the_endpoint(settings: object) -> None:
    settings.INDEX_URL = "https://index.example"  # type: ignore[attr-defined]
    shown = next(each.shown for each in bait.baits(7) if each.kind == Kind.SSH)
    assert f"/honey/{shown}'" in bait.files(7)["ssh-config"]


# ---- planted


def test_planting_writes_digests_down_and_no_secret(box: Sandbox) -> None:
    honeytokens.plant(box)
    rows = list(Honeytoken.objects.filter(sandbox=box))
    assert {(row.kind, row.digest) for row in rows} == {
        (each.kind, each.digest) for each in bait.baits(box.pk)
    }
    stored = " ".join(f"{row.identifier} {row.digest}" for row in rows)
    assert not any(each.shown in stored for each in bait.baits(box.pk) if each.kind != Kind.AWS)


def test_they_are_in_the_cluster_before_anybody_is(ready: Sandbox, cluster: Cluster) -> None:
    data = cluster._api.get(SECRET.path(ready.namespace, "home"))["data"]
    assert {name: base64.b64decode(text).decode() for name, text in data.items()} == bait.files(ready.pk)
    assert Honeytoken.objects.filter(sandbox=ready).count() == 4


# ---- used


def test_a_use_is_an_alarm_and_a_ledger_entry_that_name_the_sandbox(box: Sandbox) -> None:
    use(box)
    use(box)
    use(box, Kind.SSH)
    assert honeytokens.tell() == 3
    alarm = Alarm.objects.get(kind="honeytoken")
    assert alarm.subject == f"sandbox:{box.pk}"
    assert f"planted in {box} of alice was used" in alarm.message
    entries = Entry.objects.filter(action="sandbox.honeytoken_used", subject=f"sandbox:{box.pk}")
    assert [(entry.data["kind"], entry.data["uses"]) for entry in entries] == [("aws", 2), ("ssh", 1)]
    assert entries[0].data["from_another_sandbox"] == []
    box.refresh_from_db()
    assert box.phase == Phase.READY
    assert honeytokens.tell() == 0


def test_a_use_from_another_sandbox_is_told_as_such(box: Sandbox, bob: User) -> None:
    other = world.ready(bob)
    use(box, seen_in=other)
    honeytokens.tell()
    assert f"from another sandbox: {other} of bob" in Alarm.objects.get(kind="honeytoken").message
    entry = Entry.objects.get(action="sandbox.honeytoken_used")
    assert entry.subject == f"sandbox:{box.pk}"
    assert entry.data["from_another_sandbox"] == [other.pk]


def test_both_are_isolated_if_an_admin_wants_that(box: Sandbox, bob: User, settings: object) -> None:
    settings.HONEYTOKEN_ACTION = "isolate"  # type: ignore[attr-defined]
    other = world.ready(bob)
    use(box, seen_in=other)
    honeytokens.tell()
    for sandbox in (box, other):
        sandbox.refresh_from_db()
        assert sandbox.phase == Phase.ISOLATED
        assert sandbox.isolation_reason == "A planted AWS access key was used."


def test_of_one_that_is_over_it_is_still_told(box: Sandbox, settings: object) -> None:
    settings.HONEYTOKEN_ACTION = "isolate"  # type: ignore[attr-defined]
    world.over(box)
    use(box, Kind.PYPI)
    assert honeytokens.tell() == 1
    assert Alarm.objects.filter(kind="honeytoken").exists()


def test_no_secret_is_in_alarm_or_ledger(box: Sandbox) -> None:
    for which in Kind:
        use(box, which)
    honeytokens.tell()
    said = " ".join(
        [
            *Alarm.objects.values_list("message", flat=True),
            *(str(entry.data) for entry in Entry.objects.all()),
        ]
    )
    secrets = [each.shown for each in bait.baits(box.pk) if each.kind != Kind.AWS]
    assert not any(secret in said for secret in secrets)
