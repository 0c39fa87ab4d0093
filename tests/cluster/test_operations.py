"""Asleep, awake, isolated and released again through the portal, where pods really run."""

import pytest

from tests.cluster.test_journey import Kubectl, portal
from tests.journey import TRIAL, people
from tests.petridish import Petridish

pytestmark = [pytest.mark.cluster, pytest.mark.enable_socket]

__all__ = ["portal"]  # a fixture


def test_sleep_wake_isolate_release(portal: tuple[Petridish, Kubectl]) -> None:
    petridish, kubectl = portal
    with people(petridish) as person:
        alice, iris = person("alice"), person("iris")
        sandbox = alice.sandbox_ready(alice.post("/requests", TRIAL, 201)["sandbox"])
        path, namespace = f"/sandboxes/{sandbox['id']}", sandbox["namespace"]

        alice.post(f"{path}/hibernate", status=202)
        alice.until(path, lambda seen: seen["hibernated_at"])
        assert "No resources found" in kubectl("alice", namespace, "get", "pods").stderr
        alice.post(f"{path}/wake", status=202)
        awake = alice.sandbox_ready(sandbox["id"])
        assert (awake["expires_at"], awake["index_url"]) == (sandbox["expires_at"], sandbox["index_url"])
        assert "Successfully installed" in kubectl.inside("alice", namespace, "pip", "install", "demo")

        iris.post(f"{path}/isolate", {"reason": "It talks too much."}, 202)
        alice.until(path, lambda seen: seen["cut_at"])
        assert "forbidden" in kubectl("alice", namespace, "get", "pods").stderr
        iris.post(f"{path}/release", {"reason": "A false alarm."}, 202)
        released = alice.sandbox_ready(sandbox["id"])
        assert released["expires_at"] == sandbox["expires_at"]
        assert (
            kubectl.inside("alice", namespace, "python3", "-c", "import demo; print(demo.VERSION)") == "2.0"
        )

        alice.post(f"{path}/end")
        assert alice.sandbox_over(sandbox["id"])["receipt"]["document"]["leftovers"] == []
