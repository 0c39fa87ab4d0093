"""The objects of one sandbox, without pods: Petridish at concurrency 8 against `kubectl apply` one after the other.

    KUBECONFIG=… KUBE_CONTEXT=… .venv/bin/python -m bench.objects [--rounds 9] [--sandboxes 24] [--kubectl 6]

Both make the same rendered objects (the seal and access: namespace, quota, limits, policies,
service account, settings, role and binding) on the same real cluster. They take turns, the
first turn too, in rounds of a few seconds, each from a quiet moment on (if one comes within
ten seconds), so that whatever else this machine does hits both. Everything is deleted after
each round, off the clock: a network plugin's work grows with the number of namespaces.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil

from bench.world import ROOT, end_on_sigterm, load, say

if TYPE_CHECKING:
    from sandboxes.cluster.driver import Cluster
    from sandboxes.cluster.render import Rendered

_QUIET = 25.0  # percent of all cores
_QUIET_WITHIN = 10.0  # seconds
INSTALLATION = f"bench-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Turn:
    """Sandboxes a second, and how much CPU time the client itself took for each."""

    rate: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sandboxes", type=int, default=24, help="by Petridish, each round")
    parser.add_argument("--kubectl", type=int, default=6, help="by kubectl, each round")
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    end_on_sigterm()

    from sandboxes.cluster.driver import connect

    kubeconfig, context = os.environ["KUBECONFIG"], os.environ["KUBE_CONTEXT"]
    cluster = connect(name=context, kubeconfig=kubeconfig, context=context)
    before, supply = load(), batches()

    def theirs() -> Turn:
        return timed(lambda batch: _by_kubectl(kubeconfig, context, batch), supply, options.kubectl)

    def ours() -> Turn:
        return timed(
            lambda batch: by_petridish(cluster, batch, options.concurrency), supply, options.sandboxes
        )

    rounds: list[tuple[Turn, Turn]] = []
    try:
        ours(), theirs()  # connections, kubectl's discovery cache
        for number in range(options.rounds):
            turns = {turn: turn() for turn in ((ours, theirs) if number % 2 else (theirs, ours))}
            rounds.append((turns[ours], turns[theirs]))
            clean(cluster)
    finally:
        clean(cluster)
    _report(rounds, options.concurrency, before)
    return 0


def _report(rounds: list[tuple[Turn, Turn]], concurrency: int, before: str) -> None:
    count = len(_objects(next(batches())))
    say(f"{count} objects each; median of {len(rounds)} rounds; {before} before, {load()} after")
    rates = []
    for name, turns in (
        ("kubectl apply, one after the other", [theirs for _, theirs in rounds]),
        (f"Petridish, {concurrency} at a time", [mine for mine, _ in rounds]),
    ):
        rates.append(statistics.median(turn.rate for turn in turns))
        cpu = statistics.median(turn.cpu for turn in turns) * 1000
        say(f"  {name:36} {rates[-1]:6.2f} sandboxes/s   client's CPU {cpu:5.0f} ms each")
    ratios = sorted(mine.rate / theirs.rate for mine, theirs in rounds)
    told = " ".join(f"{each:.1f}" for each in ratios)
    middle = statistics.median(ratios)
    say(f"  ratio of the medians {rates[1] / rates[0]:.1f}, median of the rounds' ratios {middle:.1f}")
    say(f"  round by round: {told}")


def timed(make: "Callable[[list[Rendered]], None]", batches: "Iterator[Rendered]", count: int) -> Turn:
    batch = list(islice(batches, count))  # rendered before the clock runs, for both
    _wait_for_quiet()
    begin, spent = time.monotonic(), _cpu()
    make(batch)
    return Turn(count / (time.monotonic() - begin), (_cpu() - spent) / count)


def _wait_for_quiet() -> None:
    """Until the cluster is done with the last turn, and this machine with something else; not for ever."""
    end = time.monotonic() + _QUIET_WITHIN
    while psutil.cpu_percent(interval=0.5) > _QUIET and time.monotonic() < end:
        pass


def _cpu() -> float:
    """Of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def batches() -> "Iterator[Rendered]":
    """Sandboxes of this run, each another."""
    from sandboxes.cluster.render import load_templates, render
    from sandboxes.cluster.spec import SandboxSpec

    templates = load_templates(ROOT / "k8s-templates")
    profile = templates.profiles["python"]
    for number in range(1, 1_000_000):
        spec = SandboxSpec(
            sandbox_id=number,
            installation_id=INSTALLATION,
            name=f"sbx-{INSTALLATION}-{number}",
            namespace=f"sbx-{INSTALLATION}-{number}",
            profile="python",
            owner="petridish:bench",
            expires_at=None,
            index_url="http://name:token@192.0.2.1:8081/simple/",
            index_host="192.0.2.1",
            index_port=8081,
            index_addresses=("192.0.2.1",),
            image=profile.image,
            cpu=profile.cpu,
            memory=profile.memory,
            storage=profile.storage,
            gpu=0,
        )
        yield render(spec, templates)


def _objects(rendered: "Rendered") -> list[dict[str, Any]]:
    return [*rendered.seal, *rendered.access]


def _by_kubectl(kubeconfig: str, context: str, batch: "list[Rendered]") -> None:
    """One `kubectl apply -f` for each sandbox, as a script would."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sandbox.json"
        command = ["kubectl", "--kubeconfig", kubeconfig, "--context", context, "apply", "-f", str(path)]
        for rendered in batch:
            path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(rendered)}))
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def by_petridish(cluster: "Cluster", batch: "list[Rendered]", concurrency: int) -> None:
    """The driver's calls in the order the lifecycle makes them."""

    def make(rendered: "Rendered") -> None:
        cluster.ensure_namespace(rendered.seal[0])
        cluster.apply([*rendered.seal[1:], *rendered.access])

    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(make, batch))


def clean(cluster: "Cluster") -> None:
    """Everything of this run away, and seen to be away."""
    while found := list(cluster.namespaces(INSTALLATION)):
        for state in found:
            if state.phase == "Active":
                cluster.delete_namespace(state.name, state.uid)
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
