"""The one thing that Petridish runs in a workspace: the script that lists what is installed.

By `exec` over a WebSocket, as kubectl does it. The command is fixed to the last character: the admission policy
"reach" lets nothing else in (`k8s-templates/platform/50-reach.yaml`). The interpreter is the image's own, whose
file system is read-only, and it starts without the site's modules: neither is the owner's to change. What
somebody who runs in the same pod does to the files meanwhile, no script can know.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from sandboxes.cluster.api import Api
from sandboxes.cluster.kinds import kind
from sandboxes.cluster.names import WORKSPACE_POD
from sandboxes.errors import ClusterRefusedError

_POD: Final = kind("v1", "Pod")
_CONTAINER: Final = "workspace"
_SECONDS: Final = 60.0
_BYTES: Final = 8 << 20
_SHELL: Final = 'PATH=/usr/local/bin:/usr/bin:/bin; export PATH; exec python3 -I -S -c "$0"'


@cache
def inventory_command() -> list[str]:
    """What is run, which is also what the admission policy compares."""
    script = Path(__file__).with_name("inventory_script.py").read_text()
    return ["/bin/sh", "-c", _SHELL, script]


class Entering:
    """The part of `driver.Cluster` that this module holds."""

    _api: Api

    def installed(self, namespace: str) -> dict[str, Any]:
        """What the script printed. ClusterRefusedError when it could not be run, or printed something else."""
        path = f"{_POD.path(namespace, WORKSPACE_POD)}/exec"
        text = self._api.execute(
            path, container=_CONTAINER, command=inventory_command(), seconds=_SECONDS, most=_BYTES
        )
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ClusterRefusedError("The workspace answered with no inventory.") from error
        if not isinstance(found, dict) or not isinstance(found.get("items"), list):
            raise ClusterRefusedError("The workspace answered with no inventory.")
        return found
