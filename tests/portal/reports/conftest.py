"""Installs on given days, by people of the cast."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from portal.accounts.models import User
from sandboxes.lifecycle.models import Sandbox
from sandboxes.lifecycle.phases import Phase
from sandboxes.usage.models import Install

type Put = Callable[..., Install]


@pytest.fixture
def sandbox_of() -> Callable[..., Sandbox]:
    def make(owner: User, *tools: str) -> Sandbox:
        sandbox = Sandbox.objects.create(
            owner=owner,
            cluster="simulated",
            profile="python",
            data_class="public",
            lease=timedelta(hours=1),
            phase=Phase.READY,
            tools=list(tools),
        )
        Sandbox.objects.filter(pk=sandbox.pk).update(name=f"pd-{sandbox.pk}")
        return sandbox

    return make


@pytest.fixture
def put() -> Put:
    """An install: whose sandbox, when ("2026-11-02" or with a time), which wheel."""

    def make(
        sandbox: Sandbox,
        when: str,
        tool: str,
        version: str = "1.0",
        client: str = "pip 26.3",
        build: str = "",
    ) -> Install:
        filename = f"{tool}-{version}{build}-py3-none-any.whl"
        return Install.objects.create(
            sandbox=sandbox,
            at=datetime.fromisoformat(when).replace(tzinfo=UTC),
            project=tool,
            version=version,
            filename=filename,
            sha256=filename.encode().hex().ljust(64, "0")[:64],
            size=1000,
            client=client,
        )

    return make
