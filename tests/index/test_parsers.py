"""`pypi-simple`, the strictest reader of simple pages there is, reads each page in both forms."""

import json
from typing import Any

import pytest

from sandboxes.index import own_names
from tests.index.clients import environment
from tests.index.installers import run
from tests.index.projects import REFUSALS
from tests.index.world import World

pytestmark = pytest.mark.django_db

# Run by the environment's own Python, which knows nothing of this project.
_READ = """
import json, sys
from pypi_simple import ACCEPT_HTML_ONLY, ACCEPT_JSON_ONLY, PyPISimple

found = {}
with PyPISimple(sys.argv[1]) as client:
    for form, accept in (("json", ACCEPT_JSON_ONLY), ("html", ACCEPT_HTML_ONLY)):
        pages = {name: client.get_project_page(name, accept=accept) for name in sys.argv[2:]}
        names = client.get_index_page(accept=accept).projects
        found[form] = {"names": names, "pages": {name: {
            "version": page.repository_version,
            "packages": [[
                package.filename, package.project, package.version, package.package_type, package.digests,
                package.requires_python, package.is_yanked, package.yanked_reason, package.has_metadata,
                package.metadata_digests, package.url, package.size,
                package.upload_time and package.upload_time.isoformat(),
            ] for package in page.packages]} for name, page in pages.items()}}
    one = client.get_project_page(sys.argv[2]).packages[0]
    client.download_package(one, one.filename)
    found["metadata"] = client.get_package_metadata(one)
print(json.dumps(found))
"""
OURS = REFUSALS["internal-name"].project
_IN_HTML = 11  # of each package: HTML knows neither size nor upload time


@pytest.fixture(scope="module")
def read(world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    python = environment("pypi-simple") / "bin" / "python"
    folder = tmp_path_factory.mktemp("pypi-simple")
    code, output = run([str(python), "-c", _READ, f"{world.url()}/", *world.upstream.projects], folder)
    assert code == 0, output
    return json.loads(output)


def test_both_forms_say_the_same_of_every_project(world: World, read: Any) -> None:
    html, plain = read["html"]["pages"], read["json"]["pages"]
    assert list(plain) == list(world.upstream.projects)
    for project, page in plain.items():
        assert [each[:_IN_HTML] for each in html[project]["packages"]] == [
            each[:_IN_HTML] for each in page["packages"]
        ]
        assert (page["version"], html[project]["version"]) == ("1.4", "1.4")


def test_all_files_are_there_as_the_upstream_has_them(world: World, read: Any) -> None:
    for project, packages in world.upstream.projects.items():
        if project == OURS:
            continue
        said = {each[0]: each for each in read["json"]["pages"][project]["packages"]}
        assert sorted(said) == sorted(package.filename for package in packages)
        for package in packages:
            told = said[package.filename]
            assert told[1:4] != [None, None, None], told
            assert told[4] == {"sha256": package.sha256}
            assert bool(told[8]) is (package.metadata is not None)
            assert told[12] is not None
            assert told[5] == world.upstream.extra.get(package.filename, {}).get("requires-python")


def test_a_need_of_a_python_is_read_from_both_forms(read: Any) -> None:
    for form in ("json", "html"):
        packages = read[form]["pages"]["fastjson"]["packages"]
        assert {each[2]: each[5] for each in packages} == {"1.1": ">=3.8", "2.0": ">=3.99"}


def test_the_page_of_a_name_of_our_own_is_read_too(read: Any) -> None:
    [[_, _, version, *_]] = read["json"]["pages"][OURS]["packages"]
    assert version == own_names.VERSION


def test_the_list_of_projects_is_read(world: World, read: Any) -> None:
    """What this sandbox asked for: all that there is, but for the name that nobody was asked about."""
    assert read["html"]["names"] == read["json"]["names"]
    assert read["json"]["names"] == sorted(set(world.upstream.projects) - {OURS})


def test_a_file_and_its_metadata_are_verified(world: World, read: Any) -> None:
    [first, *_] = world.upstream.projects.values()
    assert first[0].metadata is not None
    assert read["metadata"] == first[0].metadata.decode()
