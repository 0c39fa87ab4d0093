"""Scanning one file with every detector, in a child process that has little to lose.

Archives are hostile input, and so is the code in them: whatever a file does to its reader (endless loops,
memory, a crash in a library) ends one child, and the report says so, which holds the file.
"""

from sandboxes.screening.scanner.pool import Scanners
from sandboxes.screening.scanner.version import VERSION

__all__ = ["VERSION", "Scanners"]
