"""Apart, since the pool, the children and the package's own first page all say it."""

from typing import Final

VERSION: Final[int] = 3  # raised whenever a detector, a rule or a limit changes: all is then judged anew
