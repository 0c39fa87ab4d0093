"""Requests and decisions, against the real database."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connections

from portal.accounts.models import User
from portal.approvals import queries, services
from portal.approvals.drafts import Draft
from portal.approvals.models import Decision, Request, Rule, State
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, InvalidInputError, NotFoundError, PetridishError, RefusedError
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase

DRAFT = Draft(
    "python", "See whether rich helps", ("rich",), timedelta(minutes=10), "public", {"why": "Asked for"}
)
ASKS = replace(DRAFT, data_class="internal")

pytestmark = pytest.mark.django_db


def _actions(subject: str) -> list[str]:
    return list(Entry.objects.filter(subject=subject).order_by("id").values_list("action", flat=True))


class TestSubmit:
    def test_an_ordinary_trial_is_approved_at_once(self, alice: User) -> None:
        request = services.submit(by=alice, draft=DRAFT)
        assert request.state == State.APPROVED
        assert request.sandbox is not None
        assert (request.sandbox.phase, request.sandbox.lease) == (Phase.PENDING, DRAFT.duration)
        assert request.rule is not None
        assert request.rule["name"] == "Ordinary trial"
        assert Decision.objects.get(request=request).by is None
        assert _actions(f"request:{request.pk}") == ["request.submitted", "request.approved"]
        assert _actions(f"sandbox:{request.sandbox.pk}") == ["sandbox.pending"]

    def test_internal_data_waits_for_an_approver(self, alice: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        assert (request.state, request.sandbox) == (State.PENDING, None)
        assert any("internal" in reason for reason in request.reasons)
        assert _actions(f"request:{request.pk}") == ["request.submitted"]

    def test_the_third_live_sandbox_is_asked(self, alice: User, bob: User) -> None:
        for _ in range(2):
            assert services.submit(by=alice, draft=DRAFT).state == State.APPROVED
        assert services.submit(by=alice, draft=DRAFT).state == State.PENDING
        assert services.submit(by=bob, draft=DRAFT).state == State.APPROVED

    def test_the_preview_says_the_same_and_writes_nothing(self, alice: User) -> None:
        verdict = services.preview(by=alice, draft=ASKS)
        assert (verdict.outcome, Request.objects.count(), Entry.objects.count()) == ("ask", 0, 0)
        assert list(verdict.reasons) == services.submit(by=alice, draft=ASKS).reasons

    def test_a_deny_rule_denies_at_once(self, alice: User) -> None:
        Rule.objects.create(position=1, name="Closed for the holidays", outcome="deny")
        request = services.submit(by=alice, draft=DRAFT)
        assert (request.state, request.sandbox) == (State.DENIED, None)

    def test_a_disabled_person_may_not_ask(self, alice: User) -> None:
        alice.is_active = False
        with pytest.raises(RefusedError):
            services.submit(by=alice, draft=DRAFT)


class TestDecide:
    def test_an_approver_may_shorten(self, alice: User, iris: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        decided = services.decide(
            request.pk, by=iris, approve=True, reason="Fine", duration=timedelta(minutes=5)
        )
        assert decided.state == State.APPROVED
        assert decided.sandbox is not None
        assert decided.sandbox.lease == timedelta(minutes=5)
        assert _actions(f"request:{request.pk}") == ["request.submitted", "request.approved"]

    def test_an_approver_may_not_lengthen(self, alice: User, iris: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        with pytest.raises(InvalidInputError):
            services.decide(request.pk, by=iris, approve=True, reason="", duration=timedelta(minutes=11))
        request.refresh_from_db()
        assert request.state == State.PENDING

    def test_a_denial_needs_a_reason(self, alice: User, iris: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        with pytest.raises(InvalidInputError):
            services.decide(request.pk, by=iris, approve=False, reason=" ")
        denied = services.decide(request.pk, by=iris, approve=False, reason="We have a licence for another")
        assert (denied.state, denied.sandbox) == (State.DENIED, None)
        assert Decision.objects.get(request=request).reasons == ["We have a licence for another"]

    def test_nobody_decides_on_their_own_request(self, iris: User, igor: User) -> None:
        request = services.submit(by=iris, draft=ASKS)
        with pytest.raises(RefusedError, match="own request"):
            services.decide(request.pk, by=iris, approve=True, reason="Mine")
        assert services.decide(request.pk, by=igor, approve=True, reason="Fine").state == State.APPROVED

    def test_employees_and_auditors_do_not_decide(self, alice: User, bob: User, omar: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        for person in (bob, omar):
            with pytest.raises(RefusedError):
                services.decide(request.pk, by=person, approve=True, reason="Fine")

    def test_the_second_approver_is_told_who_decided(self, alice: User, iris: User, igor: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        services.decide(request.pk, by=iris, approve=True, reason="Fine")
        with pytest.raises(ConflictError, match=r"approved already, by Iris: Fine"):
            services.decide(request.pk, by=igor, approve=False, reason="No")

    def test_an_unknown_request(self, iris: User) -> None:
        with pytest.raises(NotFoundError):
            services.decide(404, by=iris, approve=True, reason="Fine")


class TestWithdraw:
    def test_only_by_the_requester_and_only_while_pending(self, alice: User, bob: User) -> None:
        request = services.submit(by=alice, draft=ASKS)
        with pytest.raises(RefusedError):
            services.withdraw(request.pk, by=bob)
        assert services.withdraw(request.pk, by=alice).state == State.WITHDRAWN
        with pytest.raises(ConflictError, match="withdrawn already"):
            services.withdraw(request.pk, by=alice)
        assert _actions(f"request:{request.pk}") == ["request.submitted", "request.withdrawn"]


class TestExtend:
    @pytest.fixture
    def sandbox(self, alice: User) -> Sandbox:
        sandbox = services.submit(by=alice, draft=DRAFT).sandbox
        assert sandbox is not None
        return sandbox

    def test_within_policy_it_is_granted_at_once(self, sandbox: Sandbox, alice: User) -> None:
        request = services.extend(sandbox.pk, by=alice, duration=timedelta(minutes=5), reason="Not done")
        assert (request.kind, request.state) == ("extension", State.APPROVED)
        sandbox.refresh_from_db()
        assert sandbox.lease == timedelta(minutes=15)

    def test_beyond_policy_it_is_asked_and_an_approver_grants_it(
        self, sandbox: Sandbox, alice: User, iris: User
    ) -> None:
        request = services.extend(sandbox.pk, by=alice, duration=timedelta(days=7), reason="Not done")
        assert request.state == State.PENDING
        with pytest.raises(ConflictError, match="waits for a decision"):
            services.extend(sandbox.pk, by=alice, duration=timedelta(days=7), reason="Again")
        services.decide(request.pk, by=iris, approve=True, reason="Fine", duration=timedelta(days=1))
        sandbox.refresh_from_db()
        assert sandbox.lease == timedelta(days=1, minutes=10)

    def test_the_profiles_cap_holds(self, sandbox: Sandbox, alice: User) -> None:
        with pytest.raises(InvalidInputError, match="at most 30 days in all"):
            services.extend(sandbox.pk, by=alice, duration=timedelta(days=30), reason="Not done")

    @pytest.mark.parametrize("more", [timedelta(days=365 * 9000), timedelta.max])
    def test_without_its_profile_ten_years_are_the_cap(
        self, sandbox: Sandbox, alice: User, more: timedelta
    ) -> None:
        Sandbox.objects.update(profile="abacus")
        with pytest.raises(InvalidInputError, match="ten years"):
            services.extend(sandbox.pk, by=alice, duration=more, reason="Not done")
        assert not sandbox.requests.filter(kind="extension").exists()

    def test_only_ones_own_and_only_live(self, sandbox: Sandbox, alice: User, bob: User) -> None:
        with pytest.raises(NotFoundError):
            services.extend(sandbox.pk, by=bob, duration=timedelta(minutes=5), reason="Mine now")
        Sandbox.objects.update(phase=Phase.ENDED)
        with pytest.raises(ConflictError, match="only a live one"):
            services.extend(sandbox.pk, by=alice, duration=timedelta(minutes=5), reason="Not done")

    def test_granted_too_late_is_a_conflict_and_changes_nothing(
        self, sandbox: Sandbox, alice: User, iris: User
    ) -> None:
        request = services.extend(sandbox.pk, by=alice, duration=timedelta(days=7), reason="Not done")
        Sandbox.objects.update(phase=Phase.ENDING)
        with pytest.raises(ConflictError):
            services.decide(request.pk, by=iris, approve=True, reason="Fine")
        request.refresh_from_db()
        assert request.state == State.PENDING


class TestVisibility:
    def test_others_requests_and_sandboxes_do_not_exist_for_an_employee(
        self, alice: User, bob: User, iris: User, omar: User
    ) -> None:
        request = services.submit(by=alice, draft=DRAFT)
        assert request.sandbox_id is not None
        for viewer in (alice, iris, omar):
            assert queries.request_for(viewer, request.pk) == request
            assert queries.sandbox_for(viewer, request.sandbox_id).pk == request.sandbox_id
        with pytest.raises(NotFoundError):
            queries.request_for(bob, request.pk)
        with pytest.raises(NotFoundError):
            queries.sandbox_for(bob, request.sandbox_id)

    def test_the_queue_is_oldest_first_and_filters(self, alice: User, bob: User) -> None:
        first = services.submit(by=alice, draft=ASKS)
        second = services.submit(by=bob, draft=replace(ASKS, tools=("streamlit",), profile="notebook"))
        assert list(queries.queue()) == [first, second]
        assert list(queries.queue(text="STREAMLIT")) == [second]
        assert list(queries.queue(text="bob")) == [second]
        assert list(queries.queue(profile="python")) == [first]
        assert queries.queue_count() == 2

    def test_history_counts(self, alice: User, iris: User) -> None:
        services.submit(by=alice, draft=DRAFT)
        services.decide(services.submit(by=alice, draft=ASKS).pk, by=iris, approve=False, reason="No")
        history = queries.history(alice)
        assert (history.requests, history.approved, history.denied, history.live) == (2, 1, 1, 1)


def _at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Runs `work` in that many threads, released together; results and errors in order."""
    gate, results = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        try:
            gate.wait()
            results[number] = work(number)  # type: ignore[call-overload]
        except PetridishError as error:
            results[number] = error  # type: ignore[call-overload]
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_of_two_approvers_at_once_one_wins_and_the_other_is_told(
        self, alice: User, iris: User, igor: User
    ) -> None:
        request = services.submit(by=alice, draft=ASKS)
        results = _at_once(
            2, lambda n: services.decide(request.pk, by=(iris, igor)[n], approve=True, reason=f"Says {n}")
        )
        assert sorted(type(result).__name__ for result in results) == ["ConflictError", "Request"]
        assert Sandbox.objects.count() == Decision.objects.count() == 1

    def test_parallel_requests_do_not_share_the_last_free_place(self, alice: User) -> None:
        results = _at_once(6, lambda _: services.submit(by=alice, draft=DRAFT).state)
        assert sorted(map(str, results)) == ["approved"] * 2 + ["pending"] * 4
