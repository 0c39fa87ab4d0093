"""Which processes run, by what the environment says."""

from pathlib import Path

import pytest

from portal import env
from portal.supervisor import plan


@pytest.mark.parametrize(("port", "has_proxy"), [("8082", True), ("0", False)])
def test_the_egress_proxy_runs_where_it_has_a_port(tmp_path: Path, port: str, has_proxy: bool) -> None:
    environment = env.read({"DATA_DIR": str(tmp_path), "EGRESS_PROXY_PORT": port})
    specs = {spec.name: spec for spec in plan.services(environment, {})}
    assert ("egress" in specs) == has_proxy
    assert bool(environment.egress_proxy_url) == has_proxy
    if has_proxy:
        assert specs["egress"].command == ["sandboxes.index.egress"]
        assert specs["egress"].log == tmp_path / "logs" / "egress.log"
        assert not specs["egress"].ready()


def test_screening_runs_beside_the_index(tmp_path: Path) -> None:
    environment = env.read({"DATA_DIR": str(tmp_path)})
    [spec] = [each for each in plan.services(environment, {}) if each.name == "screening"]
    assert spec.command == ["sandboxes.index.screening", str(tmp_path / "run" / "screening.ready")]
    assert not spec.ready()
