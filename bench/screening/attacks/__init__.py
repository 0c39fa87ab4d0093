"""Inert re-creations of known attacks, written by us to measure the scanner: see README.md beside this.

The tables hold text; nothing in them is ever run, and nothing but `building.py` reads it.
"""

from typing import Final

from bench.screening.attacks import (
    beyond,
    compromised,
    disguised,
    held_out,
    held_out_npm,
    held_out_sdists,
    hidden,
    import_time,
    install_time,
    npm,
    npm_evading,
    start_hooks,
    stealing,
)
from bench.screening.attacks.attack import Attack

ALL: Final[tuple[Attack, ...]] = (
    *start_hooks.ATTACKS,
    *install_time.ATTACKS,
    *import_time.ATTACKS,
    *hidden.ATTACKS,
    *beyond.ATTACKS,
    *stealing.ATTACKS,
    *disguised.ATTACKS,
    *compromised.ATTACKS,
    *npm.ATTACKS,
    *npm_evading.ATTACKS,
    *held_out.ATTACKS,
    *held_out_sdists.ATTACKS,
    *held_out_npm.ATTACKS,
)
