"""What an admin may paste: data. Nothing that runs, and nothing that reads our disk."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandboxes.cluster.driver import connect_text
from sandboxes.cluster.kubeconfig import inline
from sandboxes.errors import InvalidInputError

SECRET = "s3cret-token"


def config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": SECRET, **(user or {})}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def test_plain_data_passes_and_only_the_chosen_context_is_kept() -> None:
    given = config({"extensions": [{"name": "note"}], "certificate-authority": ""})
    given["users"].append({"name": "other", "user": {"exec": {"command": "sh"}}})
    given["contexts"].append({"name": "y", "context": {"cluster": "c", "user": "other"}})
    kept = inline(yaml.safe_dump(given), None)
    assert kept["users"] == [{"name": "u", "user": {"token": SECRET}}]
    assert kept["clusters"] == [{"name": "c", "cluster": {"server": "https://api.example:6443"}}]
    assert [each["name"] for each in kept["contexts"]] == ["x"]
    with pytest.raises(InvalidInputError, match="run a program"):
        inline(json.dumps(given), "y")


@pytest.mark.parametrize(
    ("cluster", "user", "why"),
    [
        ({}, {"exec": {"command": "sh", "args": ["-c", "touch /x"]}}, "'exec': it would run a program here"),
        ({}, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "sh"}}}, "'auth-provider'"),
        ({}, {"tokenFile": "/etc/passwd"}, "'tokenFile': it names a file of this machine; use token"),
        ({}, {"client-certificate": "/x"}, "use client-certificate-data"),
        ({}, {"client-key": "/x"}, "use client-key-data"),
        ({}, {"as": "system:admin"}, "'as': only inline data"),
        ({}, {"something-new": "/x"}, "'something-new': only inline data"),
        ({"certificate-authority": "/x"}, {}, "use certificate-authority-data"),
        ({"server": "file:///etc/passwd"}, {}, "must be an https"),
        ({"server": "unix:///run/x"}, {}, "must be an https"),
        ({"server": ["https://x"]}, {}, "no text|https"),
        ({}, {"token": {"a": "b"}}, "no text"),
    ],
)
def test_what_acts_or_reads_files_is_refused(
    cluster: dict[str, Any], user: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        connect_text("c", json.dumps(config(cluster, user)), None)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "mapping"),
        ("[]", "mapping"),
        ("{", "not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("clusters: 1", "current-context"),
        ("current-context: x", "no 'x' among its contexts"),
        ("x" * 300_000, "larger than 256 KiB"),
    ],
)
def test_what_is_no_kubeconfig(text: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        inline(text, None)


def test_an_unknown_context_is_named() -> None:
    with pytest.raises(InvalidInputError, match="no 'z' among its contexts"):
        inline(json.dumps(config()), "z")
    without_user = config()
    without_user["users"] = []
    with pytest.raises(InvalidInputError, match="no 'u' among its users"):
        inline(json.dumps(without_user), None)


def test_data_that_does_not_decode_is_refused_without_being_shown() -> None:
    broken = base64.b64encode(b"x").decode()[:-1] + "!"
    with pytest.raises(InvalidInputError) as caught:
        connect_text(
            "c", json.dumps(config(user={"client-certificate-data": "abc", "client-key-data": broken})), None
        )
    assert broken not in str(caught.value)
