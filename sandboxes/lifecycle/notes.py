"""Notes for the receipt: kept in the row, step by step, so that another worker goes on where one died.

`Sandbox.teardown` holds, among times in ISO 8601: `existed` (every object seen, with its
uid, when its deletion was asked for and when it was seen gone), `waiting` (what the
teardown waits for at the moment, and since when) and `stuck` (the periods it was stuck).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sandboxes.cluster.remains import Existing
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox


def text(moment: datetime) -> str:
    """As every time in a receipt is written: UTC, always with microseconds, so that text sorts as time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def now() -> str:
    return text(clock.now())


def once(sandbox: Sandbox, **values: Any) -> None:
    """Keeps the first value of each note: a repeated step does not move the time."""
    fresh = {key: value for key, value in values.items() if key not in sandbox.teardown}
    if fresh:
        put(sandbox, **fresh)


def put(sandbox: Sandbox, **values: Any) -> None:
    sandbox.teardown = {**sandbox.teardown, **values}
    sandbox.save(update_fields=["teardown"])


def existing(sandbox: Sandbox, found: Iterable[Existing]) -> None:
    """Writes down what is there before anything of it is taken away; the namespace itself comes first."""
    if inventoried(sandbox):
        return
    own = Existing("Namespace", sandbox.namespace or "", sandbox.namespace_uid)
    listed = [own, *found] if sandbox.namespace_uid else list(found)
    put(sandbox, existed=[{"kind": one.kind, "name": one.name, "uid": one.uid} for one in listed])


def inventoried(sandbox: Sandbox) -> bool:
    """Whether it is written down what existed. Notes of an older release, names without uids, do not count."""
    existed = sandbox.teardown.get("existed")
    return existed is not None and all(isinstance(one, dict) for one in existed)


def known(sandbox: Sandbox) -> frozenset[str]:
    """The uids of all that existed."""
    return frozenset(one["uid"] for one in sandbox.teardown.get("existed", ()))


def deleted(sandbox: Sandbox, kinds: frozenset[str] | None, at: str) -> None:
    """Their deletion was asked for. None: everything, with the namespace."""
    _mark(sandbox, "deleted_at", at, lambda one: kinds is None or one["kind"] in kinds)


def absent(sandbox: Sandbox, seen: Iterable[Existing], kinds: frozenset[str] | None, at: str) -> None:
    """Those of these kinds (None: of any) whose uid a listing did not show are gone."""
    there = {one.uid for one in seen}
    _mark(
        sandbox,
        "absent_at",
        at,
        lambda one: (kinds is None or one["kind"] in kinds) and one["uid"] not in there,
    )


def _mark(sandbox: Sandbox, name: str, at: str, chosen: Any) -> None:
    before = sandbox.teardown.get("existed", [])
    after = [{**one, name: at} if name not in one and chosen(one) else one for one in before]
    if after != before:
        put(sandbox, existed=after)
