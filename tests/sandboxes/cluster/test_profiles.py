"""Profiles are validated wholly, and a mistake names file and line."""

from datetime import timedelta
from pathlib import Path

import pytest

from sandboxes.cluster.profiles import load_profiles
from sandboxes.errors import TemplateError
from tests.sandboxes.cluster.conftest import ROOT

GOOD = """\
apiVersion: petridish.dev/v1
kind: Profile
metadata:
  name: python
spec:
  title: Python
  summary: For trying things.
  details: >-
    All of it,
    in two lines.
  risk: low
  image: python:3.13-slim
  cpu: 1
  memory: 1Gi
  storage: 4Gi
  gpu: 0
  maxDuration: P30D
"""


def test_what_is_offered() -> None:
    profiles = load_profiles(ROOT)
    assert {name: (p.risk, p.gpu, p.max_duration.days) for name, p in profiles.items()} == {
        "python": ("low", 0, 30),
        "notebook": ("low", 0, 30),
        "data-science": ("low", 0, 14),
        "gpu": ("high", 1, 7),
    }
    assert profiles["notebook"].packages == ("jupyterlab",)


def test_one_image_for_all() -> None:
    assert {profile.image for profile in load_profiles(ROOT, "local/python:1").values()} == {"local/python:1"}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kind: Profile", "kind: Profil", 2, "kind Profile"),
        ("petridish.dev/v1", "petridish.dev/v2", 2, "petridish.dev/v1"),
        ("name: python", "name: Python", 4, "DNS-1123"),
        ("name: python", "name: other", 4, "not the file's name"),
        ("risk: low", "risk: middling", 11, "must be low or high"),
        ("cpu: 1", "cpu: many", 13, "not a Kubernetes quantity"),
        ("cpu: 1", "cpu: 0", 13, "more than nothing"),
        ("memory: 1Gi", "memory: ${memory}", 14, "no placeholder"),
        ("gpu: 0", "gpu: true", 16, "whole number"),
        ("gpu: 0", "gpu: 17", 16, "whole number"),
        ("maxDuration: P30D", "maxDuration: P1M", 17, "ISO 8601"),
        ("maxDuration: P30D", "maxDuration: 30", 17, "ISO 8601"),
        ("maxDuration: P30D", "maxDuration: PT0S", 17, "ISO 8601"),
        ("maxDuration: P30D", "maxDuration: P30D\n  colour: red", 18, "unknown field spec.colour"),
        ("maxDuration: P30D", "maxDuration: P30D\n  packages: ['x; rm -rf /']", 18, "package names"),
        ("maxDuration: P30D", "maxDuration: P30D\n  packages: ['--index-url=x']", 18, "package names"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: gVisor", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: ''", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: -kata", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: kata..qemu", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: 1", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: null", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: a_b", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  runtimeClass: [gvisor]", 17, "name of a RuntimeClass"),
        ("gpu: 0", f"gpu: 0\n  runtimeClass: {'a' * 254}", 17, "name of a RuntimeClass"),
        ("gpu: 0", "gpu: 0\n  nodeSelector: [pool]", 17, "mapping of labels"),
        ("gpu: 0", "gpu: 0\n  nodeSelector: {fast: true}", 17, "quote true"),
        ("gpu: 0", "gpu: 0\n  nodeSelector: {'a b': x}", 17, "mapping of labels"),
        ("gpu: 0", 'gpu: 0\n  nodeSelector: {pool: "${name}"}', 17, "no placeholder"),
        ("gpu: 0", "gpu: 0\n  clusterLabels: {gpu: 1}", 17, "mapping of labels"),
        ("gpu: 0", "gpu: 0\n  tolerations: {key: a}", 17, "list of tolerations"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{operator: Exists}]", 17, "tolerate every taint"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{key: a, colour: b}]", 17, "must hold tolerations of"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{key: a, value: true}]", 17, "no label's value"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{key: a, operator: Exists, value: b}]", 17, "Exists without"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{key: a, effect: Never}]", 17, "NoSchedule"),
        ("gpu: 0", "gpu: 0\n  tolerations: [{key: a, tolerationSeconds: -1}]", 17, "number of seconds"),
        ("gpu: 0", "gpu: 0\n  gpuResource: gpu", 17, "extended resource"),
        ("gpu: 0", "gpu: 0\n  hibernateAfter: soon", 17, "ISO 8601"),
        ("  gpu: 0\n", "", 5, "spec.gpu is missing"),
        ("image: python:3.13-slim", "image: -x", 12, "image reference"),
        ("title: Python", "title: ''", 6, "must be text"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "python.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(TemplateError) as caught:
        load_profiles(tmp_path)
    assert f"python.yaml:{line}: " in str(caught.value)
    assert message in str(caught.value)


def test_the_example_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "python.yaml").write_text(GOOD)
    profile = load_profiles(tmp_path)["python"]
    assert (profile.cpu, profile.memory, profile.details) == ("1", "1Gi", "All of it, in two lines.")


@pytest.mark.parametrize("name", ["gvisor", "kata-qemu", "kata.example.com", "a" * 253])
def test_a_runtime_class_may_be_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "python.yaml").write_text(GOOD + f"  runtimeClass: {name}\n")
    assert load_profiles(tmp_path)["python"].runtime_class == name


def test_without_a_runtime_class_it_is_the_clusters_own() -> None:
    assert {profile.runtime_class for profile in load_profiles(ROOT).values()} == {""}


PLACED = """\
  nodeSelector: {pool: sandboxes, example.com/tier: ""}
  tolerations:
    - {key: sandboxes, operator: Exists, effect: NoSchedule}
    - {key: spot, value: "true", effect: NoExecute, tolerationSeconds: 300}
  gpuResource: amd.com/gpu
  clusterLabels: {gpu: a100}
  hibernateAfter: PT8H
"""


def test_where_it_runs_and_when_it_sleeps(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "python.yaml").write_text(GOOD + PLACED)
    profile = load_profiles(tmp_path)["python"]
    assert profile.node_selector == {"pool": "sandboxes", "example.com/tier": ""}
    assert profile.tolerations[1] == {
        "key": "spot",
        "value": "true",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    assert (profile.gpu_resource, profile.cluster_labels) == ("amd.com/gpu", {"gpu": "a100"})
    assert profile.hibernate_after == timedelta(hours=8)


def test_without_a_word_it_runs_anywhere_and_never_sleeps(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "python.yaml").write_text(GOOD)
    profile = load_profiles(tmp_path)["python"]
    assert (profile.node_selector, profile.tolerations, profile.cluster_labels) == ({}, (), {})
    assert (profile.gpu_resource, profile.hibernate_after) == ("nvidia.com/gpu", None)


def test_no_profile_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no profile"):
        load_profiles(tmp_path)


def test_durations_are_exact() -> None:
    assert load_profiles(ROOT)["gpu"].max_duration == timedelta(days=7)
