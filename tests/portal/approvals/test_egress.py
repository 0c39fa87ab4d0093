"""Asking for a way out: what is taken, who decides, and what an approval does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from portal.approvals import queries, services
from portal.approvals.drafts import DraftError
from portal.approvals.egress import NO_PROXY, Typed, parse_egress
from portal.approvals.models import Decision, Kind, Request, Rule, State
from portal.approvals.policy import Facts, RuleSpec, decide
from sandboxes.audit.models import Entry
from sandboxes.errors import ConflictError, NotFoundError, RefusedError
from sandboxes.lifecycle import clock, egress
from sandboxes.lifecycle.models import EgressException, Probe, Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.lifecycle.ways import Way
from tests.portal.web import world

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
END = NOW + timedelta(days=2)
ASKED = Typed(host="api.example.org", port="443", reason="Load the sample", until="PT1H")


def parse(typed: Typed, *, proxied: bool = True) -> Any:
    return parse_egress(typed, now=NOW, lease_end=END, proxied=proxied)


class TestWhatIsTyped:
    def test_a_host(self) -> None:
        draft = parse(replace(ASKED, host=" API.example.org. ", reason=" Load it "))
        assert draft.way == Way("", "api.example.org", 443)
        assert (draft.reason, draft.until) == ("Load it", NOW + timedelta(hours=1))

    def test_a_block(self) -> None:
        draft = parse(replace(ASKED, host="", cidr="203.0.113.7"), proxied=False)
        assert draft.way == Way("203.0.113.7/32", "", 443)

    @pytest.mark.parametrize(
        ("until", "moment"),
        [
            ("", END),
            ("P1D", NOW + timedelta(days=1)),
            ("2026-11-23T10:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
            ("2026-11-23T10:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
            ("2026-11-23T10:00+02:00", datetime(2026, 11, 23, 8, tzinfo=UTC)),
            (END.isoformat(), END),
        ],
    )
    def test_until(self, until: str, moment: datetime) -> None:
        assert parse(replace(ASKED, until=until)).until == moment

    @pytest.mark.parametrize(
        ("changes", "field", "says"),
        [
            ({"host": ""}, "host", "one host or one address block"),
            ({"cidr": "203.0.113.7"}, "host", "one host or one address block"),
            ({"host": "*.example.org"}, "host", "wildcards"),
            ({"host": "127.0.0.1"}, "host", "is an address"),
            ({"host": "", "cidr": "0.0.0.0/0"}, "cidr", "too much"),
            ({"host": "", "cidr": "169.254.169.254"}, "cidr", "link-local"),
            ({"port": "0"}, "port", "1 to 65535"),
            ({"reason": " "}, "reason", "what it is needed for"),
            ({"reason": "x" * 4001}, "reason", "below"),
            ({"reason": "nul\0"}, "reason", "plain"),
            ({"until": "soon"}, "until", "no moment"),
            ({"until": "P1M"}, "until", "no moment"),
            ({"until": "P3D"}, "until", "cannot outlast the lease"),
            ({"until": "2026-11-22T11:00Z"}, "until", "is over"),
            ({"until": "9999-99-99"}, "until", "no moment"),
        ],
    )
    def test_what_cannot_be_taken(self, changes: dict[str, str], field: str, says: str) -> None:
        with pytest.raises(DraftError) as caught:
            parse(replace(ASKED, **changes))
        assert set(caught.value.errors) == {field}
        assert says in caught.value.errors[field]

    def test_every_fault_is_named(self) -> None:
        with pytest.raises(DraftError) as caught:
            parse(Typed(port="x", reason="", host="", until="x"))
        assert set(caught.value.errors) == {"host", "port", "reason", "until"}

    def test_without_a_proxy_no_host_can_be_asked_for(self) -> None:
        with pytest.raises(DraftError, match="no egress proxy"):
            parse(ASKED, proxied=False)
        assert "address block" in NO_PROXY


class TestPolicy:
    FACTS = Facts(
        kind=Kind.EGRESS,
        profile="python",
        risk="low",
        gpu=False,
        data_class="public",
        duration=timedelta(hours=1),
        live=1,
        way=Way("", "api.example.org", 443),
    )

    def test_a_rule_that_approves_everything_approves_no_way_out(self) -> None:
        verdict = decide(self.FACTS, [RuleSpec("Anything goes", "approve")])
        assert verdict.outcome == "ask"
        assert "it is for sandbox or extension, this is egress" in verdict.reasons[0]

    def test_a_rule_that_names_them_does(self) -> None:
        named = RuleSpec("Ways out of low risk", "approve", kinds=("egress",), risks=("low",))
        assert decide(self.FACTS, [named]).outcome == "approve"
        assert decide(replace(self.FACTS, kind=Kind.SANDBOX), [named]).outcome == "ask"

    @pytest.mark.parametrize("outcome", ["deny", "ask"])
    def test_a_rule_that_stops_everything_stops_them_too(self, outcome: Any) -> None:
        verdict = decide(self.FACTS, [RuleSpec("Closed", outcome)])
        assert verdict.rule is not None
        assert verdict.outcome == outcome


@pytest.fixture
def box(alice: User) -> Sandbox:
    """Alice's sandbox, ready for four hours."""
    return world.ready(alice)


def actions(subject: str) -> list[str]:
    return list(Entry.objects.filter(subject=subject).order_by("id").values_list("action", flat=True))


@pytest.mark.django_db
class TestAsk:
    def test_a_person_decides(self, box: Sandbox, alice: User) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        assert (asked.kind, asked.state, asked.sandbox) == (Kind.EGRESS, State.PENDING, box)
        assert asked.egress is not None
        assert asked.egress == {
            "cidr": "",
            "host": "api.example.org",
            "port": 443,
            "until": asked.egress["until"],
        }
        assert asked.duration == timedelta(hours=1)
        assert asked.purpose == "Load the sample"
        assert list(queries.queue()) == [asked]
        assert list(queries.queue(text="API.EXAMPLE")) == [asked]
        entry = Entry.objects.get(subject=f"request:{asked.pk}")
        assert (entry.action, entry.data["egress"]) == ("request.submitted", asked.egress)
        assert egress.allowed_hosts(box.pk) == frozenset()

    def test_a_rule_may_decide_it(self, box: Sandbox, alice: User) -> None:
        Rule.objects.create(position=1, name="Ways out", outcome="approve", kinds=["egress"])
        assert services.ask_egress(box.pk, by=alice, typed=ASKED).state == State.APPROVED
        assert egress.allowed_hosts(box.pk) == {("api.example.org", 443)}

    def test_only_of_ones_own(self, box: Sandbox, bob: User, ada: User) -> None:
        for person in (bob, ada):
            with pytest.raises(NotFoundError):
                services.ask_egress(box.pk, by=person, typed=ASKED)

    @pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ISOLATED, Phase.ENDING, Phase.ENDED])
    def test_only_while_its_lease_runs(self, box: Sandbox, alice: User, phase: Phase) -> None:
        Sandbox.objects.update(phase=phase)
        with pytest.raises(ConflictError, match=phase.value):
            services.ask_egress(box.pk, by=alice, typed=ASKED)

    def test_not_the_same_twice_and_not_without_bound(
        self, box: Sandbox, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        services.ask_egress(box.pk, by=alice, typed=ASKED)
        with pytest.raises(ConflictError, match=r"api\.example\.org:443 waits for a decision"):
            services.ask_egress(box.pk, by=alice, typed=replace(ASKED, host="API.example.org"))
        monkeypatch.setattr(services, "_MOST_WAITING", 1)
        with pytest.raises(ConflictError, match="1 ways out"):
            services.ask_egress(box.pk, by=alice, typed=replace(ASKED, port="22"))

    def test_not_to_what_the_probe_needs_closed(self, box: Sandbox, alice: User) -> None:
        attempts = [{"target": "api-server", "host": "10.1.2.3", "port": 6443, "expected": "blocked"}]
        Probe.objects.create(sandbox=box, passed=True, simulated=True, attempts=attempts)
        with pytest.raises(DraftError) as caught:
            services.ask_egress(box.pk, by=alice, typed=replace(ASKED, host="", cidr="10.0.0.0/8"))
        assert "api-server 10.1.2.3" in caught.value.errors["cidr"]
        assert not Request.objects.filter(kind=Kind.EGRESS).exists()


@pytest.mark.django_db
class TestDecide:
    def test_an_approval_opens_it_in_the_same_transaction(
        self, box: Sandbox, alice: User, iris: User
    ) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        decided = services.decide(asked.pk, by=iris, approve=True, reason="Fine")
        assert decided.state == State.APPROVED
        row = EgressException.objects.get(sandbox=box)
        assert asked.egress is not None
        assert (row.host, row.port, row.reason, row.granted_by) == (
            "api.example.org",
            443,
            asked.purpose,
            iris,
        )
        assert row.until.isoformat() == asked.egress["until"]
        assert actions(f"sandbox:{box.pk}")[-1] == "sandbox.egress_granted"
        assert actions(f"request:{asked.pk}") == ["request.submitted", "request.approved"]

    def test_an_approver_may_shorten_it(self, box: Sandbox, alice: User, iris: User) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        services.decide(asked.pk, by=iris, approve=True, reason="", duration=timedelta(minutes=10))
        row = EgressException.objects.get(sandbox=box)
        assert timedelta(minutes=9) < row.until - clock.now() <= timedelta(minutes=10)
        assert Decision.objects.get(request=asked).duration == timedelta(minutes=10)

    def test_a_denial_opens_nothing(self, box: Sandbox, alice: User, iris: User) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        services.decide(asked.pk, by=iris, approve=False, reason="We have a mirror of it")
        assert not EgressException.objects.exists()

    def test_nobody_approves_their_own(self, iris: User) -> None:
        own = world.ready(iris)
        asked = services.ask_egress(own.pk, by=iris, typed=ASKED)
        with pytest.raises(RefusedError, match="own request"):
            services.decide(asked.pk, by=iris, approve=True, reason="Mine")

    @pytest.mark.parametrize(
        "change", [{"phase": Phase.ENDING}, {"phase": Phase.ISOLATED}, {"expires_at": clock.Now()}]
    )
    def test_too_late_is_a_conflict_and_changes_nothing(
        self, box: Sandbox, alice: User, iris: User, change: dict[str, Any]
    ) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        Sandbox.objects.update(**change)
        with pytest.raises(ConflictError):
            services.decide(asked.pk, by=iris, approve=True, reason="Fine")
        asked.refresh_from_db()
        assert asked.state == State.PENDING
        assert not EgressException.objects.exists()

    def test_its_date_may_pass_while_it_waits(self, box: Sandbox, alice: User, iris: User) -> None:
        asked = services.ask_egress(box.pk, by=alice, typed=ASKED)
        assert asked.egress is not None
        past = (clock.now() - timedelta(minutes=1)).isoformat()
        Request.objects.filter(pk=asked.pk).update(egress={**asked.egress, "until": past})
        with pytest.raises(ConflictError, match="over already"):
            services.decide(asked.pk, by=iris, approve=True, reason="Fine")


@pytest.mark.django_db
class TestEnd:
    def test_who_may(self, box: Sandbox, alice: User, bob: User, iris: User, omar: User, ada: User) -> None:
        for person in (alice, iris, ada):
            row = world.way_out(box)
            assert services.end_egress(row.pk, sandbox_id=box.pk, by=person).ended_at is not None
        row = world.way_out(box)
        with pytest.raises(RefusedError):
            services.end_egress(row.pk, sandbox_id=box.pk, by=omar)
        with pytest.raises(NotFoundError):
            services.end_egress(row.pk, sandbox_id=box.pk, by=bob)

    def test_only_with_its_own_sandbox(self, box: Sandbox, alice: User, bob: User) -> None:
        of_bob = world.way_out(world.ready(bob))
        with pytest.raises(NotFoundError):
            services.end_egress(of_bob.pk, sandbox_id=box.pk, by=alice)
