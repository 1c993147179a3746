"""One warning, as pages show it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """One warning.

    Attributes:
        code: Short name of the case.
        title: What is the matter, one line.
        meaning: What it means for the figures.
        action: What to do.
    """

    code: str
    title: str
    meaning: str
    action: str
