"""What the index's benchmarks reckon with: their figures, the projects and the wheels that they make up."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from bench.index import hour, peers, projects, resolve, wheels
from bench.index.aims import Aim, table
from bench.index.memory import growth
from bench.index.pages import rate_and_p99
from sandboxes.index.upstream_json import parse_json

URL = "http://127.0.0.1/simple/x/"


def test_aims_go_up_or_down() -> None:
    share, wait = Aim(0.1, 0.3), Aim(10, 3, most=True)
    assert [share.verdict(each) for each in (0.09, 0.1, 0.3)] == ["missed", "reached", "dream"]
    assert [wait.verdict(each) for each in (10.1, 10, 3)] == ["missed", "reached", "dream"]
    assert wait.verdict(float("nan")) == "missed"


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_growth_leaves_out_the_first_tenth_and_single_peaks() -> None:
    filling, then = [float(each) for each in range(10)], [9.0] * 90
    assert growth(filling + then) == pytest.approx(1.0, abs=1.0)
    assert growth([9.0] * 99 + [500.0]) == 0.0
    assert growth([float(each) for each in range(100)]) == pytest.approx(90.0, abs=2.0)


def test_what_wrk_says() -> None:
    text = "  Latency Distribution\n     50%  690.00us\n     99%    1.50s \nRequests/sec:     34.80\n"
    assert rate_and_p99(text) == (34.8, 1500.0)


def test_rounds_in_which_one_failed_have_no_ratio() -> None:
    assert resolve.ratios([3.0, None, 4.0], [1.0, 1.0, None]) == [3.0]


def test_the_root_needs_every_wheel_and_none_needs_itself() -> None:
    reached, left = {0}, [0]
    while left:
        number = left.pop()
        needed = wheels.needs_of(number)
        assert all(other > number for other in needed)
        left += set(needed) - reached
        reached |= set(needed)
    assert reached == set(range(wheels.COUNT))
    sizes = sorted(map(wheels.size_of, range(wheels.COUNT)))
    assert (sizes[0], sizes[-1]) == (20_000, 5_000_000)


def test_wheels_are_whole(tmp_path: Path) -> None:
    assert wheels.make_set(tmp_path, "one") == "one-app"
    made = list(tmp_path.glob("*/*.whl"))
    assert len(made) == wheels.COUNT
    [app] = tmp_path.glob("one-app/*.whl")
    with zipfile.ZipFile(app) as archive:
        assert archive.testzip() is None
        assert b"Requires-Dist: one-part1>=0.1\n" in archive.read("one_app-1.0.dist-info/METADATA")
        record = archive.read("one_app-1.0.dist-info/RECORD").decode().splitlines()
        assert len(record) == len(archive.namelist())


def test_made_up_projects_are_pages_that_the_index_reads() -> None:
    body = projects.page_of("p200-x")
    assert body is not None
    page = parse_json("p200-x", body, URL)
    assert len(page.files) == 200
    body = projects.page_of("f1000-x")
    assert body is not None
    sha256 = hashlib.sha256(projects.content("f1000-x")).hexdigest()
    assert sha256 in {file.sha256 for file in parse_json("f1000-x", body, URL).files}
    assert sha256 in projects.path("f1000-x")
    assert projects.page_of("other") is None


def test_uv_is_always_compared_with_nginx() -> None:
    assert resolve.with_nginx("none") == peers.NGINX
    assert resolve.with_nginx("devpi") == f"{peers.NGINX},devpi"
    assert resolve.with_nginx(f"devpi,{peers.NGINX}") == f"devpi,{peers.NGINX}"


def test_an_hour_asks_for_everything_it_says() -> None:
    assert sum(hour.WORKS.values()) == 100
