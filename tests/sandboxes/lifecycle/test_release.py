"""Cut off until somebody releases it: proven anew, with another token; and who leaves releases nothing."""

import base64
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps

from portal.accounts.models import User
from portal.accounts.services import set_active
from sandboxes.audit.models import Entry
from sandboxes.cluster import freezing
from sandboxes.cluster.driver import Cluster
from sandboxes.errors import ConflictError, RefusedError
from sandboxes.lifecycle import (
    isolation,
    queries,
    services,
)
from sandboxes.lifecycle.models import Alarm, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.tokens import digest, index_token, last_revoked
from tests.sandboxes.lifecycle.working import BINDING, POLICY, SECRET, is_in, names, pods, until

pytestmark = pytest.mark.django_db


def secret(cluster: Cluster, sandbox: Sandbox) -> str:
    """What its workspace gets as its environment."""
    data = cluster._api.get(SECRET.path(sandbox.namespace, "package-index"))["data"]
    return " ".join(base64.b64decode(value).decode() for value in data.values())


class TestRelease:
    def test_proven_anew_with_the_same_lease_and_files(
        self, isolated: Sandbox, cluster: Cluster, iris: User
    ) -> None:
        expires_at = isolated.expires_at
        (frozen,) = pods(cluster, isolated)
        proofs = isolated.probes.count()
        isolation.release(isolated.pk, by=iris, reason="a false alarm")
        isolated.refresh_from_db()
        assert (isolated.phase, isolated.index_token_digest) == (Phase.PROBING, "")
        assert (isolated.isolated_at, isolated.isolation_reason, isolated.cut_at) == (None, "", None)
        until(isolated, is_in(Phase.READY))
        assert isolated.expires_at == expires_at
        assert isolated.probes.count() == proofs + 1
        assert isolated.index_token_digest == digest(index_token(isolated))
        assert {"deny-all", "allow-index"} <= set(names(cluster, isolated, POLICY))
        assert "owner" in names(cluster, isolated, BINDING)
        assert "package-index" in names(cluster, isolated, SECRET)
        workspace = next(pod for pod in pods(cluster, isolated) if pod["metadata"]["name"] != "probe")
        assert workspace["metadata"]["uid"] == frozen["metadata"]["uid"]
        assert freezing.still_running(workspace)
        assert not Alarm.objects.filter(kind="isolated", cleared_at=None).exists()
        entry = Entry.objects.get(action="sandbox.probing", actor=iris.username)
        assert entry.data["reason"] == "a false alarm"

    def test_its_token_is_another_and_the_old_one_stays_refused(
        self, ready: Sandbox, cluster: Cluster, iris: User
    ) -> None:
        """Who took a copy of the token before the isolation has nothing by it afterwards."""
        stolen, before = index_token(ready), secret(cluster, ready)
        assert stolen in before
        assert ready.index_token_digest == digest(stolen)
        for _ in range(2):
            isolation.isolate(ready.pk, by=iris, reason="its token was seen elsewhere")
            until(ready, lambda sandbox: sandbox.cut_at)
            isolation.release(ready.pk, by=iris, reason="looked into")
            until(ready, is_in(Phase.READY))
            fresh = index_token(ready)
            assert fresh != stolen
            assert ready.index_token_digest == digest(fresh)
            assert fresh in queries.index_url(ready)
            assert fresh in secret(cluster, ready)
            assert stolen not in secret(cluster, ready)
            stolen = fresh
        assert ready.tokens_revoked == 2

    def test_the_receipt_names_the_last_token_that_worked(self, isolated: Sandbox, iris: User) -> None:
        """Isolated anew before it opened: the token that it would have had never worked."""
        worked = last_revoked(isolated)
        isolation.release(isolated.pk, by=iris, reason="a false alarm")
        isolation.isolate(isolated.pk, by=iris, reason="none after all")
        services.end(isolated.pk, by=iris)
        until(isolated, is_in(Phase.ENDED))
        document = isolated.receipt.document
        assert document["revoked"]["index_token"]["sha256"] == digest(worked)
        # It had stopped long before the end.
        cut = Entry.objects.filter(action="sandbox.isolated").earliest("id").at
        at = cut.astimezone(UTC).isoformat(timespec="microseconds")
        assert document["index_token_revoked_at"] == document["revoked"]["index_token"]["at"] == at

    def test_the_receipt_names_every_token_and_when_each_stopped(self, isolated: Sandbox, iris: User) -> None:
        first = last_revoked(isolated)
        isolation.release(isolated.pk, by=iris, reason="a false alarm")
        until(isolated, is_in(Phase.READY))
        second = index_token(isolated)
        services.end(isolated.pk, by=iris)
        until(isolated, is_in(Phase.ENDED))
        tokens = isolated.receipt.document["revoked"]["index_tokens"]
        assert [token["sha256"] for token in tokens] == [digest(first), digest(second)]
        moments = [Entry.objects.get(action="sandbox.isolated").at, isolated.revoked_at]
        assert [datetime.fromisoformat(token["at"]) for token in tokens] == moments

    def test_only_what_is_isolated(self, ready: Sandbox, iris: User) -> None:
        with pytest.raises(ConflictError, match="ready, not isolated"):
            isolation.release(ready.pk, by=iris, reason="why not")


def test_an_upgrade_counts_the_tokens_that_were_revoked_before_they_were_counted(
    ready: Sandbox, iris: User
) -> None:
    upgrade = import_module("sandboxes.lifecycle.migrations.0004_tokens_revoked").count_revoked
    upgrade(apps, None)
    ready.refresh_from_db()
    assert ready.tokens_revoked == 0  # its token works
    stolen = index_token(ready)
    Sandbox.objects.update(phase=Phase.ISOLATED, index_token_digest="")  # as the release before did it
    upgrade(apps, None)
    isolation.release(ready.pk, by=iris, reason="a false alarm")
    until(ready, is_in(Phase.READY))
    assert index_token(ready) != stolen


class TestSomebodyLeaves:
    def test_everything_they_had_is_isolated_at_once(
        self, ready: Sandbox, alice: User, ada: User, cluster: Cluster
    ) -> None:
        waiting = services.open_sandbox(
            owner=alice, profile="python", lease=timedelta(hours=1), data_class="public", tools=[], by=None
        )
        set_active(alice, False, by=ada)
        ready.refresh_from_db()
        waiting.refresh_from_db()
        assert (ready.phase, ready.index_token_digest) == (Phase.ISOLATED, "")
        assert ready.isolation_reason == "its owner was disabled"
        assert waiting.phase == Phase.ENDING
        until(ready, lambda sandbox: sandbox.cut_at)
        assert names(cluster, ready, BINDING) == []

    def test_coming_back_releases_nothing(self, ready: Sandbox, alice: User, ada: User, iris: User) -> None:
        set_active(alice, False, by=ada)
        with pytest.raises(RefusedError, match="owner is disabled"):
            isolation.release(ready.pk, by=iris, reason="too early")
        set_active(alice, True, by=ada)
        ready.refresh_from_db()
        assert ready.phase == Phase.ISOLATED
        isolation.release(ready.pk, by=iris, reason="she is back")
        until(ready, is_in(Phase.READY))
