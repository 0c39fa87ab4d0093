"""Where a sandbox goes: a table of cases, and what holds for all of them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.lifecycle.amounts import NO_LIMITS, Amount, Limits, Resource
from sandboxes.lifecycle.placement import ClusterFacts, Needs, place

SMALL = Amount(sandboxes=1, cpu_millis=1100, memory_mib=1088)
GPU = Amount(sandboxes=1, cpu_millis=4100, memory_mib=16448, gpus=1)
PLAIN = ClusterFacts("plain")


@pytest.mark.parametrize(
    ("cluster", "needs", "demand", "reason"),
    [
        (ClusterFacts("a", enabled=False), Needs(), SMALL, "Cluster a is disabled."),
        (
            ClusterFacts("a", trusted=False),
            *(Needs(), SMALL),
            "Cluster a is not trusted at the moment; an admin has to look at it.",
        ),
        (ClusterFacts("a", answers=False), Needs(), SMALL, "Cluster a does not answer at the moment."),
        (ClusterFacts("a", configured=False), Needs(), SMALL, "Cluster a is not configured here any more."),
        (
            ClusterFacts("a", same=False),
            *(Needs(), SMALL),
            "Cluster a is not the cluster that was registered under this name: its uid changed.",
        ),
        (
            ClusterFacts("a", labels={"gpu": "t4"}),
            *(Needs(labels={"gpu": "a100"}), SMALL),
            "Cluster a is not labelled gpu=a100, which the profile asks for.",
        ),
        (
            ClusterFacts("a", runtime_classes=frozenset({"kata"})),
            *(Needs(runtime_class="gvisor"), SMALL),
            "Cluster a has no runtime class gvisor.",
        ),
        (
            ClusterFacts("a", gpus={"nvidia.com/gpu": 8}),
            *(Needs(gpu_resource="amd.com/gpu"), GPU),
            "Cluster a has 0 of amd.com/gpu, and 1 are needed.",
        ),
        (
            ClusterFacts("a", capacity=Limits(cpu_millis=1000)),
            *(Needs(), SMALL),
            "Cluster a holds 1 CPU in all, and 1.1 CPUs are needed.",
        ),
    ],
)
def test_a_cluster_that_is_out_of_the_question_is_left_out_with_the_reason(
    cluster: ClusterFacts, needs: Needs, demand: Amount, reason: str
) -> None:
    found = place(demand, needs, [cluster], {})
    assert (found.cluster, found.reasons, found.waits_for) == (None, (reason,), frozenset())
    assert place(demand, needs, [cluster, PLAIN], {}).cluster == ("plain" if not needs.labels else None)


def test_what_nobody_has_looked_at_is_not_held_against_a_cluster() -> None:
    assert place(GPU, Needs(runtime_class="gvisor"), [PLAIN], {}).cluster == "plain"


def test_a_full_cluster_is_waited_for() -> None:
    cluster = ClusterFacts("a", capacity=Limits(sandboxes=2, cpu_millis=2200))
    found = place(SMALL, Needs(), [cluster], {"a": Amount(sandboxes=2, cpu_millis=2200)})
    assert found.cluster is None
    assert found.reasons == ("Cluster a is full: 2 of 2 sandboxes are taken, 2.2 of 2.2 CPUs are taken.",)
    assert found.waits_for == {("a", Resource.SANDBOXES), ("a", Resource.CPU)}


def test_the_emptiest_is_chosen() -> None:
    clusters = [
        ClusterFacts("a", capacity=Limits(sandboxes=10)),
        ClusterFacts("b", capacity=Limits(sandboxes=100)),
    ]
    used = {"a": Amount(sandboxes=1), "b": Amount(sandboxes=50)}
    assert place(SMALL, Needs(), clusters, used).cluster == "a"
    assert place(SMALL, Needs(), clusters, {**used, "a": Amount(sandboxes=8)}).cluster == "b"


def test_without_limits_the_one_with_fewest_sandboxes_is_chosen() -> None:
    clusters = [ClusterFacts("a"), ClusterFacts("b")]
    assert place(SMALL, Needs(), clusters, {"a": SMALL}).cluster == "b"
    assert place(SMALL, Needs(), clusters, {}).cluster == "a"


def test_what_somebody_in_front_waits_for_is_not_given_away() -> None:
    cluster = ClusterFacts("a", capacity=Limits(gpus=2))
    held = frozenset({("a", Resource.GPUS)})
    assert place(GPU, Needs(), [cluster], {}, held).cluster is None
    assert place(SMALL, Needs(), [cluster], {}, held).cluster == "a"


def test_without_a_cluster_it_says_so() -> None:
    assert place(SMALL, Needs(), [], {}).reasons == ("No cluster is registered.",)


limits = st.builds(
    Limits,
    sandboxes=st.none() | st.integers(0, 8),
    cpu_millis=st.none() | st.integers(0, 8000),
    memory_mib=st.none() | st.integers(0, 8000),
    gpus=st.none() | st.integers(0, 3),
)
amounts = st.builds(
    Amount,
    sandboxes=st.integers(0, 8),
    cpu_millis=st.integers(0, 8000),
    memory_mib=st.integers(0, 8000),
    gpus=st.integers(0, 3),
)
demands = st.builds(Amount, st.just(1), st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2))
facts = st.builds(
    ClusterFacts,
    name=st.just(""),
    labels=st.sampled_from([{}, {"zone": "a"}, {"zone": "b"}]),
    enabled=st.booleans(),
    trusted=st.booleans(),
    answers=st.booleans(),
    capacity=limits,
)
fleets = st.lists(facts, max_size=4).map(
    lambda found: [_named(one, str(number)) for number, one in enumerate(found)]
)
needs_of = st.sampled_from([Needs(), Needs(labels={"zone": "a"})])


def _named(one: ClusterFacts, name: str) -> ClusterFacts:
    return ClusterFacts(
        name,
        labels=one.labels,
        enabled=one.enabled,
        trusted=one.trusted,
        answers=one.answers,
        capacity=one.capacity,
    )


@given(demands, needs_of, fleets, st.lists(amounts, min_size=4, max_size=4))
def test_a_place_is_good_and_no_place_has_a_reason_for_every_cluster(
    demand: Amount, needs: Needs, fleet: Sequence[ClusterFacts], taken: list[Amount]
) -> None:
    used = {str(number): amount for number, amount in enumerate(taken)}
    found = place(demand, needs, fleet, used)
    if found.cluster is None:
        assert len(found.reasons) == max(len(fleet), 1)
        assert all(name in {one.name for one in fleet} for name, _ in found.waits_for)
        return
    chosen = next(one for one in fleet if one.name == found.cluster)
    assert chosen.enabled
    assert chosen.trusted
    assert chosen.answers
    assert needs.labels.items() <= chosen.labels.items()
    after = used[chosen.name] + demand
    for each in Resource:
        limit = chosen.capacity.of(each)
        assert limit is None or after.of(each) <= limit or demand.of(each) == 0


@given(demands, needs_of, fleets, st.lists(amounts, min_size=4, max_size=4))
def test_more_room_never_takes_a_place_away(
    demand: Amount, needs: Needs, fleet: Sequence[ClusterFacts], taken: list[Amount]
) -> None:
    used = {str(number): amount for number, amount in enumerate(taken)}
    if place(demand, needs, fleet, used).cluster is not None:
        assert place(demand, needs, fleet, {}).cluster is not None
        roomy = [ClusterFacts("roomy", labels={"zone": "a"}, capacity=NO_LIMITS), *fleet]
        assert place(demand, needs, roomy, used).cluster is not None


@given(demands, needs_of, fleets)
def test_the_order_of_clusters_does_not_matter(
    demand: Amount, needs: Needs, fleet: Sequence[ClusterFacts]
) -> None:
    assert place(demand, needs, fleet, {}).cluster == place(demand, needs, fleet[::-1], {}).cluster
