"""What the upstream of these tests has: a project for each rule that refuses, and graphs that need resolving."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sandboxes.index.upstream_server import UpstreamServer
from tests.sandboxes.index.wheels import Package, make_wheel

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Refusal:
    """Version 2.0 of `project` is refused to `sandbox`; `says` is its reason, dates aside."""

    project: str
    says: str
    sandbox: str = "dish"
    older: bool = True  # 1.0 is given


REFUSALS = {
    "cooldown": Refusal("fresh", "released DATE, too fresh to be given; opens DATE"),
    "denied": Refusal("unwanted", "unwanted>=2 is not given here: it phones home"),
    "vulnerable": Refusal("holey", "critical vulnerability (PYSEC-1)"),
    "malicious": Refusal("evil", "known to be malicious (MAL-1)"),
    "blocked": Refusal("barred", "blocked by a person after it was screened"),
    "held": Refusal("odd", "screening found something that a person has to look at"),
    "sdist": Refusal("source", "a source distribution runs code of its own when it is installed"),
    "size": Refusal("huge", "953.7 MiB; at most 100.0 MiB are given"),
    "internal-name": Refusal("acme-core", "acme-core is a name of our own and never comes from outside", older=False),
    "frozen": Refusal("later", "released after DATE, the date this index is frozen at", "frozen"),
    "not-allowed": Refusal("unlisted", "unlisted 2.0 is not on the list of what is given here", "listed"),
    "yanked": Refusal("withdrawn", "yanked by its own project", "strict"),
}  # fmt: skip
_EXTRA: dict[str, dict[str, Any]] = {
    "cooldown": {"upload-time": YESTERDAY},
    "size": {"size": 1_000_000_000},
    "frozen": {"upload-time": "2026-04-01T00:00:00Z"},
    "yanked": {"yanked": "it loses data"},
}


def add_refusals(upstream: UpstreamServer) -> dict[str, Package]:
    """Two versions of each project; what 2.0 is, by rule."""
    newer = {}
    for rule, case in REFUSALS.items():
        name = case.project.replace("-", "_")
        new = Package(f"{name}-2.0.tar.gz", b"never read") if rule == "sdist" else make_wheel(name, "2.0")
        upstream.add(case.project, make_wheel(name), new)
        upstream.extra[new.filename] = _EXTRA.get(rule, {})
        newer[rule] = new
    return newer
