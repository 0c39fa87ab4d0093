"""Who is next: the order of the queue, without a database."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sandboxes.lifecycle.amounts import Amount, Limits, Resource
from sandboxes.lifecycle.placement import ClusterFacts, Needs
from sandboxes.lifecycle.queueing import Claim, Key, Room, settle

ONE = Amount(sandboxes=1, cpu_millis=1000, memory_mib=1024)
GPU = Amount(sandboxes=1, cpu_millis=1000, memory_mib=1024, gpus=1)
BIG = Amount(sandboxes=1, cpu_millis=4000, memory_mib=1024)


def claim(number: int, person: str, demand: Amount = ONE, department: str = "Research") -> Claim:
    return Claim(number, (("person", person), ("department", department)), demand, Needs())


def room(
    limits: dict[Key, Limits], used: dict[Key, Amount] | None = None, capacity: Limits | None = None
) -> Room:
    cluster = ClusterFacts("c", capacity=capacity or Limits())
    return Room(limits, used or {}, [cluster], {})


def admitted(queue: list[Claim], there: Room) -> list[int]:
    return [outcome.sandbox_id for outcome in settle(queue, there) if outcome.cluster is not None]


def test_in_the_order_of_arrival_as_far_as_there_is_room() -> None:
    queue = [claim(1, "alice"), claim(2, "bob"), claim(3, "carol")]
    assert admitted(queue, room({("department", "Research"): Limits(sandboxes=2)})) == [1, 2]


def test_a_big_one_in_front_is_not_starved_by_small_ones() -> None:
    limits = {("department", "Research"): Limits(cpu_millis=5000)}
    queue = [claim(1, "alice", BIG), claim(2, "bob"), claim(3, "carol")]
    assert admitted(queue, room(limits, {("department", "Research"): Amount(2, 2000)})) == []
    assert admitted(queue, room(limits, {("department", "Research"): Amount(1, 1000)})) == [1]


def test_who_waits_for_their_own_limit_holds_up_nobody_else() -> None:
    limits = {("person", ""): Limits(sandboxes=1)}
    queue = [claim(1, "alice"), claim(2, "bob"), claim(3, "alice")]
    assert admitted(queue, room(limits, {("person", "alice"): ONE})) == [2]


def test_who_waits_for_one_department_does_not_hold_up_another() -> None:
    limits = {("department", "Research"): Limits(sandboxes=0), ("department", ""): Limits(sandboxes=1)}
    used = {("department", "Sales"): ONE}
    queue = [
        claim(1, "bob", department="Sales"),
        claim(2, "dora", department="Sales"),
        claim(3, "eve", department="IT"),
    ]
    assert admitted(queue, room(limits, used)) == [3]


def test_behind_one_that_waits_for_a_gpu_those_without_go_on() -> None:
    there = room({}, capacity=Limits(gpus=1))
    queue = [claim(1, "alice", GPU), claim(2, "bob", GPU), claim(3, "carol"), claim(4, "dora", GPU)]
    outcomes = settle(queue, there)
    assert [outcome.cluster for outcome in outcomes] == ["c", None, "c", None]
    assert outcomes[3].reasons() == ("Cluster c is full: 1 of 1 GPU are taken.",)


def test_one_that_can_never_fit_waits_without_holding_anybody_up() -> None:
    limits = {("department", "Research"): Limits(cpu_millis=3000)}
    outcomes = settle([claim(1, "alice", BIG), claim(2, "bob")], room(limits))
    assert [outcome.cluster for outcome in outcomes] == [None, "c"]
    assert outcomes[0].reasons() == ("Department Research: at most 3 CPUs, and one alone takes 4.",)


def test_a_named_limit_overrides_the_default_field_by_field() -> None:
    limits = {
        ("person", ""): Limits(sandboxes=1, cpu_millis=2000),
        ("person", "alice"): Limits(sandboxes=5),
    }
    queue = [claim(1, "alice"), claim(2, "alice"), claim(3, "alice"), claim(4, "bob"), claim(5, "bob")]
    outcomes = settle(queue, room(limits))
    assert [outcome.cluster for outcome in outcomes] == ["c", "c", None, "c", None]
    assert outcomes[2].reasons() == ("alice: 2 of 2 CPUs, this would make 3.",)
    assert outcomes[4].reasons() == ("bob: 1 of 1 sandbox, this would make 2.",)


people = st.sampled_from(["alice", "bob", "carol"])
departments = st.sampled_from(["Research", "Sales"])
sizes = st.builds(Amount, st.just(1), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1))
some = st.builds(
    Limits,
    sandboxes=st.none() | st.integers(0, 6),
    cpu_millis=st.none() | st.integers(0, 12),
    gpus=st.none() | st.integers(0, 3),
)


@given(st.lists(st.tuples(people, sizes, departments), max_size=12), some, some, some)
def test_no_limit_is_ever_passed_and_nobody_passes_a_like_one(
    asked: list[tuple[str, Amount, str]], person: Limits, department: Limits, capacity: Limits
) -> None:
    queue = [claim(number, *each) for number, each in enumerate(asked, start=1)]
    limits = {("person", ""): person, ("department", ""): department}
    outcomes = settle(queue, room(limits, capacity=capacity))
    totals: dict[Key, Amount] = defaultdict(Amount)
    for wanted, outcome in zip(queue, outcomes, strict=True):
        if outcome.cluster is None:
            assert outcome.reasons()
            continue
        for key in (*wanted.keys, ("cluster", "c")):
            totals[key] += wanted.demand
    for (scope, _), total in totals.items():
        bound = {"person": person, "department": department, "cluster": capacity}[scope]
        for each in Resource:
            limit = bound.of(each)
            assert limit is None or total.of(each) <= limit
    _nobody_passes(queue, [outcome.cluster is not None for outcome in outcomes])


def _nobody_passes(queue: list[Claim], went: list[bool]) -> None:
    """Of two claims that are alike in everything, the later never goes before the earlier."""
    seen_waiting: set[tuple[object, ...]] = set()
    for wanted, gone in zip(queue, went, strict=True):
        like = (wanted.keys, wanted.demand)
        assert not (gone and like in seen_waiting)
        if not gone:
            seen_waiting.add(like)
