"""`python -m sandboxes.index`: serves until SIGTERM or Ctrl-C."""

import logging
import sys

from aiohttp import web

from sandboxes.errors import InvalidInputError
from sandboxes.index import config
from sandboxes.index.app import make_app

_GRACE = 5.0  # seconds that answers under way may still take after SIGTERM


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = config.read()
        logging.getLogger("sandboxes.index").info(
            "index on http://%s:%s, upstream %s", settings.bind, settings.port, settings.upstream.url
        )
        # No access log: each request is a row (`usage_fetch`), written before its answer.
        web.run_app(
            make_app(settings),
            host=settings.bind,
            port=settings.port,
            shutdown_timeout=_GRACE,
            access_log=None,
            print=None,
        )
    except (InvalidInputError, OSError) as error:
        sys.stderr.write(f"The index cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
