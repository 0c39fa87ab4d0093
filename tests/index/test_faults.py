"""What people read in their terminal when an upstream is at fault, and what they need not notice."""

from pathlib import Path
from time import sleep

import pytest

from tests.index import golden
from tests.index.installers import INSTALLERS
from tests.index.world import World
from tests.sandboxes.index.upstream_server import Fault
from tests.sandboxes.index.wheels import Package, make_wheel

pytestmark = pytest.mark.django_db

_TRIES = 20
CLIENTS = ("pip-23.2", "pip", "uv")
METADATA = {
    "gone": Fault(status=404),
    "broken": Fault(status=500),
    "forbidden": Fault(status=403),
    "false": Fault(data=b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"),
}


def project(world: World, *parts: str) -> tuple[str, Package]:
    """Its own for each test: what one of them stored the next one would be given."""
    name = "-".join(parts).replace(".", "-")
    wheel = make_wheel(name.replace("-", "_"))
    world.upstream.add(name, wheel)
    return name, wheel


@pytest.mark.parametrize("fault", METADATA)
@pytest.mark.parametrize("client", CLIENTS)
def test_metadata_that_the_upstream_promised_and_cannot_give_stops_nobody(
    world: World, tmp_path: Path, client: str, fault: str
) -> None:
    name, wheel = project(world, "promised", fault, client)
    world.upstream.faults[f"{wheel.filename}.metadata"] = METADATA[fault]
    result = INSTALLERS[client]().install(tmp_path, world.url(), name)
    assert result.code == 0, result.output
    assert result.installed == {name: "1.0"}
    assert world.upstream.asked[f"/packages/{wheel.filename}.metadata"] > 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_that_promised_what_is_not_in_the_wheel_is_soon_right(
    world: World, tmp_path: Path, client: str
) -> None:
    name, wheel = project(world, "mended", client)
    world.upstream.extra[wheel.filename] = {"core-metadata": {"sha256": "0" * 64}}
    folder = tmp_path / "at first"
    folder.mkdir()
    result = INSTALLERS[client]().install(folder, world.url(), name)
    output = golden.normalised(result.output, world, folder)
    assert (result.code != 0, result.installed) == (True, {}), output
    golden.check(client, f"install {name} (at first)", output)
    assert "has another sha256 than its page says. Its page is mended; try again." in output
    for times in range(_TRIES):  # each process gives the page that it has at hand for moments
        folder = tmp_path / f"again {times}"
        folder.mkdir()
        result = INSTALLERS[client]().install(folder, world.url(), name)
        if result.code == 0:
            break
        sleep(0.5)
    assert (result.code, result.installed) == (0, {name: "1.0"}), result.output


def _with_another_end(wheel: Package) -> Fault:
    return Fault(data=wheel.data[:-1] + b"!")


FILES = {
    "altered": (_with_another_end, "has another sha256 than its page says."),
    "shortened": (lambda _: Fault(data=b"short"), "has 5 bytes upstream, not "),
    "elsewhere": (
        lambda _: Fault(redirect="http://127.0.0.1:9/x"),
        "The upstream index names an address that is not allowed.",
    ),
}


@pytest.mark.parametrize("fault", FILES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_file_that_cannot_be_given_is_explained_and_not_asked_for_again(
    world: World, tmp_path: Path, client: str, fault: str
) -> None:
    make, reason = FILES[fault]
    name, wheel = project(world, fault, client)
    world.upstream.faults[wheel.filename] = make(wheel)
    result = INSTALLERS[client]().install(tmp_path, world.url(), name)
    output = golden.normalised(result.output, world, tmp_path)
    assert (result.code != 0, result.installed) == (True, {}), output
    golden.check(client, f"install {name}", output)
    assert reason in output
    assert world.upstream.asked[f"/packages/{wheel.filename}"] == 1
