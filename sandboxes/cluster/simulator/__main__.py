"""`python -m sandboxes.cluster.simulator --port P --data DIR`."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from sandboxes.cluster.simulator.server import Options, serve


def main() -> int:
    """Run until told to stop. A port in use is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="simulator", description="A simulated Kubernetes cluster.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder for state and kubeconfig")
    parser.add_argument("--delete-seconds", type=float, default=1.0, help="how long namespaces terminate")
    parser.add_argument("--ready-seconds", type=float, default=0.3, help="how long pods take to start")
    parser.add_argument("--history", type=int, default=20_000, help="changes kept for watches")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    options = Options(given.data, given.port, given.delete_seconds, given.ready_seconds, given.history)
    try:
        asyncio.run(serve(options))
    except OSError as error:
        sys.stderr.write(f"The simulated cluster cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
