"""`python -m sandboxes.index.pip_as VERSION ARGUMENTS`: pip, which judges markers as Python VERSION would.

pip's own `--python-version` holds for wheels and `Requires-Python`, but not for markers: `tomli; python_version
< "3.11"` would be judged by the Python that pip runs on, and be missing where it is needed.
"""

import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers


def run(version: str, arguments: list[str]) -> int:
    real = markers.default_environment

    def environment() -> markers.Environment:
        parts = version.split(".")
        said = real()
        said["python_version"] = ".".join(parts[:2])
        said["python_full_version"] = ".".join([*parts, "0"][:3])
        return said

    markers.default_environment = environment
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
