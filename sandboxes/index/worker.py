"""One process of the index: `python -m sandboxes.index.worker SOCKET LIFE READY`, started by `__main__.py`.

The three are descriptors: the socket to listen on, a pipe that ends with its parent, and one to say on
that it serves. Ends on SIGTERM, and when its parent is gone.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys

from sandboxes.index import config
from sandboxes.index.app import make_app
from sandboxes.index.connections import Connections, raise_limit
from sandboxes.index.listening import GRACE
from sandboxes.index.serving import Serving


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listening, life, ready = (int(number) for number in sys.argv[1:])
    asyncio.run(_serve(socket.socket(fileno=listening), life, ready))
    return 0


async def _serve(listening: socket.socket, life: int, ready: int) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    loop.add_reader(life, end.set)
    connections = Connections(raise_limit())
    # No access log: each request is a row (`usage_fetch`), written before its answer.
    serving = Serving(await make_app(config.read()), grace=GRACE, connections=connections)
    try:
        await serving.start(listening)
        gc.freeze()  # what is there now stays: looking through it again and again held up everybody for moments
        os.write(ready, b".")
        os.close(ready)
        await end.wait()
    finally:
        loop.remove_reader(life)
        await serving.stop()


if __name__ == "__main__":
    sys.exit(main())
