"""Template tags: moments, clocks, badges and the dish."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.approvals.durations import words
from portal.approvals.egress import way_of
from portal.approvals.profiles import all_profiles
from portal.web import leases, rule_words
from portal.web import words as say
from portal.web.context import NavItem
from sandboxes.audit.models import Entry
from sandboxes.index.policy.rules import Finding
from sandboxes.lifecycle import queries as lifecycle
from sandboxes.lifecycle import ways
from sandboxes.lifecycle.models import Sandbox, Step
from sandboxes.lifecycle.phases import OPENED, Phase
from sandboxes.screening.comparing.rows import shown

register = template.Library()

_PAGES = {"sandbox": "sandbox", "request": "request", "waiver": "waiver"}


class Colony(NamedTuple):
    """Where on the dish, and how large; the dish is 100 wide."""

    x: float
    y: float
    r: float


# Grown by hand, so that any first n of them look like something that grew.
COLONIES = (
    Colony(40, 41, 8.5), Colony(62, 55, 6), Colony(44, 65, 5), Colony(60, 34, 3.6), Colony(30, 57, 3.2),
    Colony(53, 50, 2.4), Colony(71, 43, 2.8), Colony(54, 74, 3.2), Colony(29, 34, 2.4), Colony(50, 26, 2.6),
    Colony(72, 64, 2.4), Colony(36, 74, 2.2), Colony(24, 47, 1.9), Colony(66, 73, 1.9), Colony(68, 28, 2),
    Colony(40, 27, 1.7), Colony(76, 53, 1.6), Colony(52, 62, 1.7), Colony(33, 66, 1.5), Colony(58, 43, 1.5),
)  # fmt: skip


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@register.simple_tag
def moment(at: datetime | str | None) -> SafeString | str:
    """When something was or will be, in words; the exact time in UTC is the title. Takes ISO 8601 text too."""
    if isinstance(at, str):
        at = parse_datetime(at)
    if at is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        _utc(at),
        say.relative(at, timezone.now()),
    )


@register.simple_tag
def exactly(at: datetime | str | None) -> SafeString | str:
    """The exact time in UTC, where proof matters more than ease."""
    if isinstance(at, str):
        at = parse_datetime(at)
    if at is None:
        return "–"
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), _utc(at))


@register.simple_tag
def clock(until: datetime | None) -> SafeString | str:
    """Time left, counted on by `petridish.js`."""
    if until is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}" data-until>{}</time>',
        until.isoformat(),
        _utc(until),
        say.remaining(until - timezone.now()),
    )


@register.simple_tag
def time_left(sandbox: Sandbox) -> leases.Left | None:
    """What there is to say of its time, if anything."""
    return leases.left(sandbox, timezone.now())


@register.filter
def waiting(items: Sequence[NavItem]) -> int:
    """What waits on all screens together."""
    return sum(item.count for item in items)


@register.filter
def reason(finding: Finding) -> str:
    """Why a rule speaks against a file, as a sentence begins."""
    return rule_words.spoken(finding)


@register.filter
def plain(text: str) -> str:
    """What a stranger wrote, with what a browser would hide or turn round written out."""
    return "\n".join(shown(line, 1000) for line in text.split("\n"))


@register.filter
def refusal(reason: str) -> str:
    """Why a connection was refused."""
    return say.refusal(reason)


@register.filter
def bracketed(host: str) -> str:
    """As it stands before a port: an IPv6 address in brackets."""
    return ways.bracketed(host)


@register.filter
def step_name(name: str) -> str:
    return say.STEPS.get(name, name.capitalize())


@register.filter
def spoken(length: timedelta | None) -> str:
    """A duration in words: "7 days"."""
    return words(length) if length else ""


@register.filter
def since(at: datetime) -> str:
    """How long ago, without "ago": "3 hours"."""
    return say.span(timezone.now() - at)


@register.filter
def profile_title(name: str) -> str:
    """A profile's title; one that is no longer offered is shown by its name."""
    profile = all_profiles().get(name)
    return profile.title if profile else name


@register.filter
def way(egress: dict[str, Any]) -> str:
    """Where a way out that was asked for leads: "api.example.org:443"."""
    return str(way_of(egress))


@register.filter
def status(sandbox: Sandbox) -> str:
    return lifecycle.status(sandbox)


@register.filter
def conditions(rule: dict[str, Any]) -> list[str]:
    """When a rule holds, in words."""
    return say.conditions(rule)


@register.filter
def readable(entry: Entry) -> str:
    """What a ledger entry says, exactly, one thing a line."""
    said = {"action": entry.action, "subject": entry.subject, "actor_id": entry.actor_id, "data": entry.data}
    return json.dumps({**said, "mac": entry.mac}, indent=2, ensure_ascii=False)


@register.filter
def told(entry: Entry) -> str:
    """What a ledger entry says, in plain words."""
    return say.action(entry.action, entry.data)


@register.filter
def role(name: str) -> str:
    return say.ROLES.get(name, name)


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """One value of a mapping, by a name that is itself a value."""
    return mapping.get(key, "")


@register.filter
def alarm_title(kind: str) -> str:
    return say.ALARMS.get(kind, kind.replace("_", " ").capitalize())


@register.filter
def cause(name: str) -> str:
    """Why the seal was tested."""
    return say.CAUSES.get(name, name)


@register.filter
def took(step: Step) -> str:
    """How long a step was under way: "340 ms", "2.1 s", "3 min 4 s"."""
    if step.ended_at is None:
        return ""
    return say.elapsed(step.ended_at - step.started_at)


@register.simple_tag
def badge(kind: str, value: str) -> SafeString:
    """A phase, state or outcome as a word with a shape."""
    known = {
        "phase": say.PHASES,
        "state": say.STATES,
        "outcome": say.OUTCOMES,
        "outcome_of_probe": say.PROBES,
    }[kind]
    word, look = known.get(value, (value, "done"))
    return format_html('<span class="badge {}">{}</span>', look, word)


@register.simple_tag
def subject(name: str) -> SafeString | str:
    """A ledger subject, linked to its page when it has one."""
    kind, _, number = name.partition(":")
    if kind == "advisory" and number:
        return format_html('<a href="{}">{}</a>', reverse("exposed", args=[number]), number)
    if (
        kind == "file" and number
    ):  # a digest: as much of it as one can compare at a glance, and all in the address
        return format_html('<a href="{}?about={}">file {}…</a>', reverse("ledger"), name, number[:12])
    if kind == "feed":
        return format_html('<a href="{}#feeds">feed</a> {}', reverse("advisories"), number)
    try:
        url = reverse(_PAGES[kind], args=[int(number)])
    except (KeyError, ValueError, NoReverseMatch):
        return name
    return format_html('<a href="{}">{} {}</a>', url, kind, number)


@register.inclusion_tag("web/parts/dish.html")
def dish(sandbox: Sandbox, contents: int = 0) -> dict[str, Any]:
    """The sandbox as a dish: the ring is the share of the lease that is left, a colony is a project in it."""
    return {
        "phase": sandbox.phase,
        "share": _share_left(sandbox),
        "colonies": COLONIES[:contents],
    }


def _share_left(sandbox: Sandbox) -> int:
    """Percent of the lease; what is on its way shows a quarter, which the stylesheet turns."""
    if sandbox.phase not in OPENED or sandbox.expires_at is None:
        return 0 if sandbox.phase in (Phase.ENDED, Phase.FAILED) else 25
    left = (sandbox.expires_at - timezone.now()) / sandbox.lease
    return round(100 * min(1.0, max(0.0, left)))
