"""What the tests' own environment keeps out."""

import ast
import os
from pathlib import Path

import pytest

from tests import plugin
from tests.settings_read import READERS, ROOT, all_read

# These read it for something else than a setting of Petridish.
OTHERS = (
    "sandboxes/cluster/canary_script.py",  # in a pod, from what its template says
    "sandboxes/cluster/probe_script.py",
    "sandboxes/screening/comparing/asking.py",  # what a child needs to run
    "sandboxes/screening/scanner/pool.py",
    "sandboxes/index/storage/bucket.py",  # AWS_*, which are forgotten by how they begin
)
SET = {
    "SCREENING_RULES",
    "SCREENING_PROCESSES",
    "INDEX_UPSTREAM_CA",
    "INDEX_UPSTREAM_ACME_AUTH",
    "INDEX_FILE_HOSTS",
    "INDEX_FILE_ORIGINS",
    "PROBE_EVERY",
    "PROBE_TARGETS",
    "OBSERVE_EVERY",
    "POLICY_LOG_TOKEN",
    "KUBE_CONTEXT",
    "SECRET_KEY",
    "OIDC_NAME",
    "AWS_PROFILE",
}


def test_what_a_persons_shell_says_steers_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ, *SET]:
        monkeypatch.setenv(name, os.environ.get(name, "of a person's own"))
    monkeypatch.setenv("KUBECONFIG", "rig")
    before = set(os.environ)
    plugin.forget_settings()
    assert before - set(os.environ) >= SET
    assert os.environ["KUBECONFIG"] == "rig"
    assert {"PATH", plugin.RUN} <= set(os.environ)


def test_nothing_of_it_is_left_here() -> None:
    ours = {"DATA_DIR", "DATABASE_URL"}  # made by the plugin
    assert all_read() & set(os.environ) - ours - plugin.KEPT == set()


def test_every_module_that_reads_the_environment_is_known() -> None:
    """Else a new one's settings would steer tests, and stand in no document."""
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("portal", "sandboxes")
        for path in (ROOT / folder).rglob("*.py")
        if "environ" in path.read_text() and _reads(path)
    }
    supervisor = {
        name for name in found if name.startswith("portal/supervisor/")
    }  # before and for the others
    assert found - supervisor - set(OTHERS) == set(READERS)


def _reads(path: Path) -> bool:
    """`environ.get(...)` or `environ[...]`, whatever holds it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    asked = [node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "get"]
    asked += [node.value for node in nodes if isinstance(node, ast.Subscript)]
    return any("environ" in (getattr(one, "attr", ""), getattr(one, "id", "")) for one in asked)
