"""Figures beside their aims, as tables that Markdown shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """To reach, and to dream of. `most`: a figure is good when it is small."""

    reach: float
    dream: float
    most: bool = False
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.reach:g}{self.unit}; {self.dream:g}{self.unit}"

    def verdict(self, figure: float) -> str:
        for name, aim in (("dream", self.dream), ("reached", self.reach)):
            if figure <= aim if self.most else figure >= aim:
                return name
        return "missed"


def row(what: str, figure: float, aim: Aim, more: str = "") -> list[str]:
    return [what, f"{figure:.3g}{aim.unit}", str(aim), aim.verdict(figure), more]


HEAD = ("figure", "here", "aim; dream", "", "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
