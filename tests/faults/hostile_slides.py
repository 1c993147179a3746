"""Slides that do something to the process that reads them. Imported by worker processes."""

from typing import Any

from histokeras.features.sources import SlideSource
from tests.faults.misbehaviour import misbehave


class Hostile:
    """A slide source that does something to the process that opens or reads it."""

    def __init__(self, source: SlideSource, deed: str) -> None:
        self.source, self.deed, self.slide_id = source, deed, source.slide_id
        self.max_bad_tiles = source.max_bad_tiles

    def identity(self) -> dict[str, Any]:
        return self.source.identity()

    def open(self) -> Any:
        opened = self.source.open()
        object.__setattr__(opened, "plan", HostilePlan(opened.plan, self.deed))
        return opened


class HostilePlan:
    """A tile plan whose second tile does the deed."""

    def __init__(self, plan: Any, deed: str) -> None:
        self._plan, self._deed = plan, deed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)

    def read_unless_corrupt(self, row: int) -> Any:
        if row == self._plan.candidates[1]:
            misbehave(self._deed, lambda n: None)
        return self._plan.read_unless_corrupt(row)
