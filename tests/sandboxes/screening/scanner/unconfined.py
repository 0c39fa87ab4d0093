"""A child on a system whose kernel offers no confinement."""

from sandboxes.screening.scanner import child
from tests.sandboxes.screening.scanner.hostile import Good


def nothing() -> tuple[str, ...]:
    return ("there is no wall", "nor a roof")


if __name__ == "__main__":
    setattr(child, "confine", nothing)  # noqa: B010
    child.serve((Good(),))
