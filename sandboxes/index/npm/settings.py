"""Which registry npm itself is configured to use: the upstream, unless somebody names another.

npm is asked through its own command, as pip is in `pip_settings.py`; without npm there is none.
No registry's host name stands in our tree.
"""

import shutil
import subprocess

from sandboxes.errors import InvalidInputError


def configured_registry() -> str:
    """Its URL; "" where npm is not installed. Raises `InvalidInputError` when it does not say."""
    npm = shutil.which("npm")
    if npm is None:
        return ""
    try:
        done = subprocess.run(
            [npm, "config", "get", "registry", "--loglevel=silent"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInputError(
            "npm's settings cannot be read (`npm config get registry` fails); set INDEX_NPM_UPSTREAM."
        ) from error
    return done.stdout.strip()
