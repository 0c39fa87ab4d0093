"""An image comes from where it seems to come from, or it is refused."""

import pytest

from sandboxes.cluster.images import check_image
from sandboxes.errors import InvalidInputError

DIGEST = "sha256:" + "0123456789abcdef" * 4
ALLOWED = ("docker.io/library", "ghcr.io/astral-sh/", "registry.example:5000", "localhost/team")


@pytest.mark.parametrize(
    "image",
    [
        "python",
        "python:3.13-slim",
        f"python@{DIGEST}",
        f"python:3.13@{DIGEST}",
        "library/python:3.13",
        "docker.io/python:3.13",
        "docker.io/library/python",
        "index.docker.io/library/python",
        "docker.io/library/python:3.13-SLIM",  # a tag may be in capitals
        "ghcr.io/astral-sh/uv",
        "registry.example:5000/python",
        "registry.example:5000/a/b/c_d__e-f:1",
        "localhost/team/python",
        "registry.example:5000",  # as Docker reads it: library/registry.example with the tag 5000
    ],
)
def test_images_of_allowed_registries(image: str) -> None:
    check_image(image, registries=ALLOWED, digest_required=False)


@pytest.mark.parametrize(
    "image",
    [
        "evil.example/docker.io/library/x",
        "docker.io.evil.example/library/x",
        "docker.io.evil.example/x",
        "evil.docker.io/library/x",
        "docker.io:443/library/x",  # another port is another server
        "docker.io/librarypython/x",
        "docker.io/library2/python",
        "somebody/python",  # docker.io/somebody, not the library
        "library.evil.example/python",
        "ghcr.io/astral-sh-evil/uv",
        "ghcr.io/evil/astral-sh/uv",
        "registry.example/python",  # the port is part of the name
        "registry.example:50001/python",
        "registry.example.evil:5000/python",
        "localhost:5000/team/python",
    ],
)
def test_images_of_other_registries(image: str) -> None:
    with pytest.raises(InvalidInputError, match=r"none of the allowed registries: docker\.io/library, "):
        check_image(image, registries=ALLOWED, digest_required=False)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "docker.io/library/../x",
        "docker.io/library/./x",
        "docker.io/library//x",
        "docker.io/library/",
        "/docker.io/library/x",
        "https://docker.io/library/x",
        "docker.io/library/x?y",
        "docker.io/library/%2e%2e/x",
        "docker.io\\library/x",
        "docker.io/library/x y",
        "docker.io/library/x\n",
        " docker.io/library/x",
        "docker.io./library/x",
        "docker.io:/library/x",
        "DOCKER.IO/library/x",
        "Docker.io/library/x",
        "docker.io/Library/x",
        "docker.io/library/X",
        "d\u043ecker.io/library/x",  # a Cyrillic letter
        "docker.io/library/x:",
        "docker.io/library/x:-1",
        "docker.io/library/x:1:2",
        "docker.io/library/x@",
        "docker.io/library/x@latest",
        "docker.io/library@evil.example/x",
        f"docker.io/library/x@{DIGEST}0",
        f"docker.io/library/x@{DIGEST[:-1]}",
        f"docker.io/library/x@{DIGEST.upper()}",
        f"docker.io/library/x@{DIGEST}@{DIGEST}",
        "docker.io/library/x@md5:" + "0" * 64,
        DIGEST,  # the id of whatever is on the node
        DIGEST[7:],
        "docker.io/library/" + "x" * 600,
    ],
)
@pytest.mark.parametrize("registries", [ALLOWED, ()], ids=["some", "any"])
def test_what_is_no_reference(image: str, registries: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match="is not an image reference"):
        check_image(image, registries=registries, digest_required=False)


def test_one_repository_may_be_allowed_alone() -> None:
    check_image("python:3.13", registries=("docker.io/library/python",), digest_required=False)
    for image in ("python2", "docker.io/library/pythons:1"):
        with pytest.raises(InvalidInputError, match="none of the allowed"):
            check_image(image, registries=("docker.io/library/python",), digest_required=False)


def test_no_registry_means_any() -> None:
    for image in ("python", "evil.example/x:1", "somebody/python"):
        check_image(image, registries=(), digest_required=False)


@pytest.mark.parametrize("registries", [("docker.io",), ()])
def test_digests(registries: tuple[str, ...]) -> None:
    check_image(f"python:3.13@{DIGEST}", registries=registries, digest_required=True)
    for image in ("python", "python:3.13", f"python:{DIGEST[7:]}"):
        with pytest.raises(InvalidInputError, match="must be pinned by its digest"):
            check_image(image, registries=registries, digest_required=True)


@pytest.mark.parametrize(
    "registry", ["", "/", "library", "python", "docker.io/../x", "https://docker.io", "*"]
)
def test_a_registry_is_written_out(registry: str) -> None:
    """An empty or short entry must not come to mean everything."""
    with pytest.raises(InvalidInputError, match="is not a registry"):
        check_image("docker.io/library/python", registries=("ghcr.io", registry), digest_required=False)
