"""What is thought of some bytes, under each name under which they were asked for. Pure.

Much that screening looks at is in the name: whom it resembles, whether the archive says the same, how old the
project is. So what it thinks counts for the name that it looked at, and the same bytes under another one are
screened by themselves. A person's "no" is about the bytes: it counts under every name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sandboxes.screening.words import Screening

type Name = tuple[str, str, str]  # ecosystem, normalised project, file name


@dataclass(frozen=True, slots=True)
class Standing:
    """`states`: by name. One without a file name is about the bytes, whatever they are called."""

    states: Mapping[Name, Screening]

    def of(self, name: Name, *, screened: bool) -> Screening:
        """`screened`: whether policy has every file screened first. Where it has not, nobody would ever look at these
        bytes under this name, so that they are held under another one counts for it too."""
        if Screening.BLOCKED in self.states.values():
            return Screening.BLOCKED
        found = [state for each, state in self.states.items() if each == name or not each[2]]
        if Screening.HELD in found:
            return Screening.HELD
        if found:
            return found[0]
        held_elsewhere = Screening.HELD in self.states.values()
        return Screening.HELD if held_elsewhere and not screened else Screening.UNKNOWN
