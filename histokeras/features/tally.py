"""Keep the books of an extraction: outcomes, failures, progress, and when to stop altogether."""

from collections.abc import Mapping
from typing import Any

from histokeras.features.known import STAIN_LEFT, remove_outputs
from histokeras.features.plan import Plan
from histokeras.runs.events import Beat, Done, Event, Lost, Retry, lost
from histokeras.runs.patience import Patience
from histokeras.runs.progress import Progress
from histokeras.runs.record import failure


class Tally:
    """Counts what becomes of each slide of a plan.

    Args:
        plan: Its outcomes and failures are completed.
        progress: Where to tell how it goes.
        fail_fast: Whether the first failed slide ends the work.
    """

    def __init__(
        self, plan: Plan, progress: Progress | None = None, *, fail_fast: bool = False
    ) -> None:
        self._plan = plan
        self._progress = progress or Progress(len(plan.todo), quiet=True)
        self._patience = Patience(fail_fast=fail_fast)

    def tiles(self, n: int) -> None:
        """Count tiles that were read."""
        self._progress.tiles(n)

    def event(self, event: Event) -> None:
        """Take in what the supervisor says."""
        if isinstance(event, Beat):
            self.tiles(event.n)
        elif isinstance(event, Done):
            self.outcome(event.result)
        elif isinstance(event, Retry):
            names = ", ".join(self._plan.todo[task].slide_id for task in event.tasks)
            self._progress.note(event.text(names))
        elif isinstance(event, Lost):
            self.outcome(self._lost(event))

    def _lost(self, event: Lost) -> dict[str, Any]:
        slide_id = self._plan.todo[event.task].slide_id
        remove_outputs(self._plan.folder, slide_id)
        rows = [failure(slide_id, "extract", lost(slide_id, event))]
        return {"slide": slide_id, "outcome": "failed", "tiles": 0, "failures": rows}

    def outcome(self, outcome: dict[str, Any]) -> None:
        """Take in what became of a slide.

        Args:
            outcome: ``slide``, ``outcome``, ``tiles``, ... and ``failures``.

        Raises:
            FirstFailureError: If it failed and that ends the work.
            SlideError: IO_ERROR if the storage seems to be lost.
        """
        failures = outcome.pop("failures")
        self._plan.outcomes.append(outcome)
        self._plan.failures += failures
        self._progress.slide(outcome["slide"], outcome["outcome"], _detail(outcome, failures))
        self._patience.slide(failures[0] if outcome["outcome"] == "failed" else None)


def _detail(outcome: Mapping[str, Any], failures: list[dict[str, str]]) -> str:
    if failures and outcome["outcome"] != "done":
        return f"{failures[0]['code']} {failures[0]['message']}"
    detail = f"{outcome['tiles']} tiles"
    if outcome.get(STAIN_LEFT):
        detail += f", stain of {outcome[STAIN_LEFT]} left as it is"
    return detail + (f", {len(failures)} bad ones left out" if failures else "")
