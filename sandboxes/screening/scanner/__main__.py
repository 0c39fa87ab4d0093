"""`python -m sandboxes.screening.scanner`: a child of `pool.Scanners`."""

from sandboxes.screening.detectors import ALL
from sandboxes.screening.scanner.child import serve

if __name__ == "__main__":
    serve(ALL)
