"""The profiles an admin offers. They are files (`k8s-templates/profiles`), read once a process."""

from functools import cache

from django.conf import settings

from sandboxes.cluster.profiles import Profile, load_profiles


@cache
def all_profiles() -> dict[str, Profile]:
    """By name, in the order they are shown."""
    return load_profiles(settings.TEMPLATES_ROOT, settings.WORKSPACE_IMAGE or None)


def own_packages(name: str) -> tuple[str, ...]:
    """What a workspace of that profile installs by itself; nothing, when it is offered no more."""
    profile = all_profiles().get(name)
    return tuple(profile.packages) if profile else ()


__all__ = ["Profile", "all_profiles", "own_packages"]
