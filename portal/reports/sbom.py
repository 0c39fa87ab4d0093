"""Bills of materials: of a sandbox, and of a tool over all sandboxes that declared it."""

import re
from collections.abc import Iterable
from typing import Final

from django.db.models import Q
from packaging.utils import canonicalize_name

from portal.accounts.models import User
from portal.approvals.queries import sandboxes_visible
from sandboxes.errors import InvalidInputError, NotFoundError
from sandboxes.index.models import Waiver
from sandboxes.index.policy.rules import Rule
from sandboxes.index.waivers import State
from sandboxes.lifecycle import clock
from sandboxes.lifecycle.models import Sandbox
from sandboxes.screening import sbom
from sandboxes.screening.models import Exposure
from sandboxes.usage.models import Install
from sandboxes.usage.queries import declared_names

MOST_SANDBOXES: Final = 500  # the newest that declared a tool
_RULES: Final = ("", Rule.MALICIOUS.value, Rule.VULNERABLE.value)  # that an advisory speaks through


def of_sandbox(sandbox: Sandbox) -> str:
    return _made(f"sandbox {sandbox}", [sandbox])


def of_tool(tool: str, viewer: User) -> str:
    """What those of the viewer's sandboxes received that declared it. NotFoundError if none did.

    A document over the newest of them only says so itself: it travels without this page.
    """
    name = canonicalize_name(tool)
    if not name:
        raise InvalidInputError("Say which tool.")
    spelled = re.escape(name).replace(r"\-", "[-_.]+")
    rows = sandboxes_visible(viewer).extra(where=["lifecycle_sandbox.tools::text ~* %s"], params=[spelled])
    looked_at = list(rows[: 4 * MOST_SANDBOXES + 1])
    beyond = len(looked_at) > 4 * MOST_SANDBOXES
    found = [row for row in looked_at[: 4 * MOST_SANDBOXES] if name in declared_names(row.tools)]
    if not found:
        raise NotFoundError(f"No sandbox declared {tool}.")
    kept = found[:MOST_SANDBOXES]
    cut_short = ""
    if beyond or len(kept) < len(found):
        many = f"at least {len(found)}" if beyond else f"{len(found)}"
        cut_short = f"the newest {len(kept)} of {many} sandboxes"
    return _made(f"tool {name}", kept, cut_short)


def _made(name: str, sandboxes: Iterable[Sandbox], cut_short: str = "") -> str:
    numbers = [sandbox.pk for sandbox in sandboxes]
    files = Install.objects.filter(sandbox__in=numbers).order_by("id")
    exposures = Exposure.objects.filter(sandbox__in=numbers).order_by("id")
    return sbom.of(name, files, exposures, _waived(sandboxes), cut_short)


def _waived(sandboxes: Iterable[Sandbox]) -> list[sbom.Waived]:
    """Those that hold now and let through what is known to be bad."""
    here = Q(scope="all")
    for sandbox in sandboxes:
        here |= Q(scope="sandbox", subject=str(sandbox.pk))
        here |= Q(scope="person", subject=str(sandbox.owner_id))
        if sandbox.department:
            here |= Q(scope="department", subject=sandbox.department)
    rows = Waiver.objects.filter(here, state=State.GRANTED, until__gt=clock.Now(), rule__in=_RULES)
    return [
        sbom.Waived(row.ecosystem, row.project, row.version, row.reason, row.until)
        for row in rows.order_by("id")
    ]
