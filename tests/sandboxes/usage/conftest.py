"""One sandbox of alice's, with what it asked for and received."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.usage.models import Fetch, Install


@pytest.fixture
def sandbox(alice: User) -> Sandbox:
    return Sandbox.objects.create(
        owner=alice, cluster="simulated", profile="python", data_class="public", lease=timedelta(hours=1)
    )


@pytest.fixture
def fetched(sandbox: Sandbox) -> Callable[..., Fetch]:
    def make(project: str = "six", whose: Sandbox | None = None) -> Fetch:
        return Fetch.objects.create(sandbox=whose or sandbox, kind="page", project=project, client="pip 26.3")

    return make


@pytest.fixture
def installed(sandbox: Sandbox) -> Callable[..., Install]:
    def make(project: str, version: str = "1.0", whose: Sandbox | None = None) -> Install:
        return Install.objects.create(
            sandbox=whose or sandbox,
            project=project,
            version=version,
            filename=f"{project}-{version}-py3-none-any.whl",
            sha256="0" * 64,
            size=1,
        )

    return make
