"""`python -m portal.run`, which is `make run`: all of Petridish on this machine, until Ctrl-C."""

import os
import sys

from sandboxes.errors import PetridishError


def main() -> int:
    try:
        from portal.supervisor.supervisor import Supervisor  # here, so that what is missing is one line too

        Supervisor(os.environ).run()
    except PetridishError as error:
        sys.stderr.write(f"Petridish: {error}\n")
        return 1
    except OSError as error:  # a folder that is a file, a disk that is full
        sys.stderr.write(f"Petridish: {error}; see that DATA_DIR can be written to.\n")
        return 1
    except ImportError as error:
        sys.stderr.write(f"Petridish: {error}; `make setup` installs what is needed.\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
