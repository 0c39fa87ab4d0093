"""What a spec may not hold: values that fit neither into names nor into labels and policies."""

import re
from collections.abc import Iterator
from typing import Final

from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.seal import check_egress
from sandboxes.cluster.spec import SandboxSpec
from sandboxes.cluster.targets import probe_targets
from sandboxes.errors import InvalidInputError

_LABEL_VALUE: Final = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
_DNS_LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_MAX_TARGETS: Final = 80  # what fits, with its results, into a termination message of 4096 bytes


def check_spec(spec: SandboxSpec) -> None:
    """InvalidInputError with the first thing that is wrong."""
    check_egress(spec.egress, spec.closed)
    for problem in _problems(spec):
        raise InvalidInputError(problem)


def _problems(spec: SandboxSpec) -> Iterator[str]:
    yield from _names(spec)
    if not spec.index_addresses:
        yield "The index has no address: a network policy could not be limited to it."
    if spec.proxy_url and not spec.proxy_addresses:
        yield "The egress proxy has no address: a network policy could not be limited to it."
    for port in _ports(spec):
        if not 0 < port < 65536:
            yield f"{port} is not a port."
    targets = len(probe_targets(spec))
    if targets > _MAX_TARGETS:
        yield f"The probe takes at most {_MAX_TARGETS} targets, not {targets}."
    for quantity in (spec.cpu, spec.memory, spec.storage):
        try:
            parse_quantity(quantity)
        except ValueError as error:
            yield f"{error}."


def _names(spec: SandboxSpec) -> Iterator[str]:
    for field in ("name", "namespace"):
        if not _DNS_LABEL.fullmatch(getattr(spec, field)):
            yield f"{field} {getattr(spec, field)!r} is not a DNS-1123 label."
    if not _LABEL_VALUE.fullmatch(spec.installation_id):
        yield f"Installation id {spec.installation_id!r} does not fit into a label."
    if not _LABEL_VALUE.fullmatch(spec.run):
        yield f"Run {spec.run!r} does not fit into a label."
    if not spec.owner:
        yield "A sandbox needs an owner."


def _ports(spec: SandboxSpec) -> Iterator[int]:
    yield spec.index_port
    if spec.proxy_url:
        yield spec.proxy_port
    yield from (dns.port for dns in spec.dns)
    yield from (block.port for block in spec.egress)
