"""`python -m sandboxes.screening.scanner SOCKET`: a child of `pool.Scanners`.

`python -m sandboxes.screening.scanner --check` tells whether this system confines it as it should.
"""

import sys

from sandboxes.screening.detectors import ALL, patterns
from sandboxes.screening.scanner.child import serve
from sandboxes.screening.scanner.confinement import confine

if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        missing = confine()
        sys.stderr.write("\n".join(missing or ("A scanner is confined in every way.",)) + "\n")
        sys.exit(1 if missing else 0)
    patterns.compiled()  # before it is ready: it may take longer than a file may
    serve(ALL)
