"""The profiles, without the templates around them: what quotas and placement need to know."""

from functools import cache

from django.conf import settings

from sandboxes.cluster.profiles import Profile, load_profiles
from sandboxes.cluster.quantities import parse_quantity
from sandboxes.cluster.render import PROBE_CPU, PROBE_MEMORY
from sandboxes.lifecycle.amounts import Amount
from sandboxes.lifecycle.placement import Needs


@cache
def profiles() -> dict[str, Profile]:
    """By name; read once a process."""
    return load_profiles(settings.TEMPLATES_ROOT, settings.WORKSPACE_IMAGE or None)


def demand(profile: Profile) -> Amount:
    """What the namespace's own ResourceQuota takes: the workspace, and the probe beside it."""
    cpu = parse_quantity(profile.cpu) + parse_quantity(PROBE_CPU)
    memory = parse_quantity(profile.memory) + parse_quantity(PROBE_MEMORY)
    return Amount(
        sandboxes=1,
        cpu_millis=-int(-cpu * 1000 // 1),  # rounded up, as the rendered quota is
        memory_mib=-int(-memory // 2**20),
        gpus=profile.gpu,
    )


def needs(profile: Profile) -> Needs:
    """What the profile asks of a cluster beside room."""
    return Needs(
        labels=dict(profile.cluster_labels),
        runtime_class=profile.runtime_class,
        gpu_resource=profile.gpu_resource,
    )
