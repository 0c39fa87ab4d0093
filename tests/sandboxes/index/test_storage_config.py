"""Where files stay, as the environment says it."""

from pathlib import Path

import pytest

from sandboxes.errors import InvalidInputError
from sandboxes.index.config import Config
from sandboxes.index.config import read as read_config

GOOD = {"DATABASE_URL": "postgresql://localhost/x", "INDEX_UPSTREAM": "https://index.example/simple/"}


def read(**environ: str) -> Config:
    return read_config(GOOD | environ)


@pytest.mark.parametrize("storage", ["", "folder"])
def test_a_folder_without_a_limit_is_the_default(storage: str, tmp_path: Path) -> None:
    config = read(INDEX_STORAGE=storage, DATA_DIR=str(tmp_path))
    assert (config.storage, config.storage_max, config.folder) == ("", None, tmp_path / "index")


@pytest.mark.parametrize(
    ("text", "size"),
    [("200G", 200 << 30), ("1TiB", 1 << 40), ("500 mb", 500 << 20), ("4096", 4096), ("7k", 7168), ("9B", 9)],
)
def test_sizes(text: str, size: int) -> None:
    assert read(INDEX_STORAGE_MAX=text).storage_max == size


@pytest.mark.parametrize("url", ["s3://dishes", "s3://my.dishes-1/some/prefix/"])
def test_buckets(url: str) -> None:
    config = read(INDEX_STORAGE=url, INDEX_STORAGE_REDIRECT="1")
    assert (config.storage, config.storage_redirect) == (url.rstrip("/"), True)
    assert not read(INDEX_STORAGE=url).storage_redirect


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"INDEX_STORAGE": "/srv/files"}, "set it to s3://BUCKET"),
        ({"INDEX_STORAGE": "s3://key:secret@dishes"}, "set it to s3://BUCKET"),
        ({"INDEX_STORAGE": "s3://x"}, "set it to s3://BUCKET"),
        ({"INDEX_STORAGE": "s3://dishes", "INDEX_STORAGE_MAX": "1G"}, "lifecycle rule"),
        ({"INDEX_STORAGE": "s3://dishes", "INDEX_STORAGE_REDIRECT": "yes"}, "neither 0 nor 1"),
        ({"INDEX_STORAGE_MAX": "lots"}, "like 200G"),
        ({"INDEX_STORAGE_MAX": "0G"}, "like 200G"),
        ({"INDEX_STORAGE_MAX": "-1G"}, "like 200G"),
    ],
)
def test_what_makes_no_sense_is_said(environ: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        read(**environ)
    assert "secret" not in str(caught.value)
