"""`manage.py platform_manifests`: what a cluster's admin reads, and applies."""

from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sandboxes.cluster.driver import Cluster

pytestmark = pytest.mark.django_db


def printed(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The objects on standard output, and what went to standard error."""
    out, err = StringIO(), StringIO()
    call_command("platform_manifests", *arguments, stdout=out, stderr=err)
    return list(yaml.safe_load_all(out.getvalue())), err.getvalue()


def subjects(objects: list[dict[str, Any]]) -> set[str]:
    return {item["subjects"][0]["name"] for item in objects if item["kind"] == "ClusterRoleBinding"}


def test_by_default_they_are_for_a_service_account_of_its_own(settings: Settings) -> None:
    settings.INSTALLATION_ID, settings.IMAGE_REGISTRIES = "inst-9", ("registry.example/team",)
    objects, notes = printed()
    assert subjects(objects) == {"system:serviceaccount:petridish:petridish"}
    assert {item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"} == {"petridish"}
    assert "petridish.dev/installation: inst-9" in yaml.safe_dump(objects)
    assert "registry.example/team/" in yaml.safe_dump(objects)
    assert notes == ""


def test_for_another_account(settings: Settings) -> None:
    objects, notes = printed("--user", "system:serviceaccount:it:sandboxes")
    assert subjects(objects) == {"system:serviceaccount:it:sandboxes"}
    assert notes == ""


def test_a_cluster_is_asked_who_we_are_there_and_a_person_is_warned(cluster: Cluster) -> None:
    objects, notes = printed("--cluster", cluster.name)
    assert subjects(objects) == {"petridish-simulated:admin"}
    assert "petridish-reach" not in {item["metadata"]["name"] for item in objects}
    assert "petridish-simulated:admin is no service account" in notes


def test_what_cannot_be_printed_is_one_line(settings: Settings) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        printed("--cluster", "nowhere")
    settings.IMAGE_REGISTRIES = ("team",)
    with pytest.raises(CommandError, match="not a registry"):
        printed()
