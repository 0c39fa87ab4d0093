"""Watches on the network policies of every cluster, so that a changed seal is looked at within a moment.

Nothing relies on them: a watch that died, or an event that was missed, costs the wait until
the next listing (`observing`), and no more. One thread per registered cluster; of several
hosts, the one that holds the cluster's advisory lock watches it, and the others wait for
that lock to come free, which it does when its holder's connection ends.

A hint says "look": the sandbox is inspected, and its seal proven again, because a policy
changed. Whoever changed it, for policies of our own go on and off as well.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models import Case, F, When

from sandboxes.cluster import watching
from sandboxes.errors import ClusterUnavailableError
from sandboxes.lifecycle import clock, clusters, hints, identity, registry
from sandboxes.lifecycle.models import RegisteredCluster, Sandbox
from sandboxes.lifecycle.phases import OPENED, Phase

logger = logging.getLogger(__name__)
_LOCK_SPACE: Final = 0x5065  # keeps our advisory locks apart from others on the same database
_WATCH_SECONDS: Final = 240.0  # of one watch; then it begins anew
_LOOK_EVERY: Final = 10.0  # seconds, for clusters that were registered meanwhile
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


def run(stop: threading.Event, at_work: Callable[[], None]) -> None:
    """Until `stop`: one thread for every registered cluster. They are daemons, for a watch may hang."""
    threads: dict[str, threading.Thread] = {}
    while not stop.is_set():
        try:
            for name in _names():
                if name not in threads or not threads[name].is_alive():
                    threads[name] = threading.Thread(
                        target=_keep_watching, args=(name, stop), name=f"watch-{name}", daemon=True
                    )
                    threads[name].start()
            at_work()
        except Exception:
            logger.exception("The registered clusters cannot be read; it is tried again.")
        finally:
            connection.close()
        stop.wait(_LOOK_EVERY)


def hint(cluster_name: str, namespace: str) -> None:
    """A network policy in that namespace came, went or changed; nothing if no open sandbox lives there."""
    rows = Sandbox.objects.filter(namespace=namespace, cluster=cluster_name, phase__in=OPENED)
    proof = Case(When(phase=Phase.READY, then=clock.Now()), default=F("probe_due_at"))
    if rows.update(inspect_due=True, probe_due_at=proof, next_check_at=clock.Now()):
        for sandbox_id in rows.values_list("pk", flat=True):
            hints.look_at(sandbox_id)


def _names() -> list[str]:
    registry.ensure_environment_cluster()
    return list(RegisteredCluster.objects.values_list("name", flat=True))


def _keep_watching(name: str, stop: threading.Event) -> None:
    """Watches again and again; each failure in a row makes the pause longer."""
    failures = 0
    while not stop.is_set():
        began, watched = time.monotonic(), False
        try:
            watched = _watch_if_ours(name, stop)
        except ClusterUnavailableError as error:  # that it is down is said elsewhere
            logger.info("The watch of cluster %s broke: %s", name, error)
        except Exception:
            logger.exception("The watch of cluster %s ended; it is begun again.", name)
        finally:
            connection.close()
        if watched or time.monotonic() - began > _WATCH_SECONDS / 2:
            failures = 0
            continue
        failures += 1
        stop.wait(min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE))


def _watch_if_ours(name: str, stop: threading.Event) -> bool:
    """One watch, to its end; False if another host watches this cluster, or nobody should."""
    row = registry.get(name)
    if row.strange_uid or not identity.may_ask(row):
        return False
    cluster = clusters.get(name)
    with _alone(row) as ours:
        if not ours:
            return False
        connection.close()  # a watch must not keep one of the pool's for minutes
        for namespace in watching.policy_changes(cluster, settings.INSTALLATION_ID, _WATCH_SECONDS):
            if stop.is_set():
                break
            hint(name, namespace)
            connection.close()
    return True


@contextmanager
def _alone(row: RegisteredCluster) -> Iterator[bool]:
    """Whether this process now watches the cluster alone. On a connection of its own, with which the lock ends."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as own:
        got = own.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_SPACE, row.pk % 2**31])
        yield got.fetchone() == (True,)
