"""Slide after slide into one record: outcomes, failures, progress. One bad slide stops nobody."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from histokeras.runs.progress import Progress
from histokeras.runs.record import RunRecord
from histokeras.runs.shard import Share
from histokeras.runs.union import FAILURES, shared_record

One = TypeVar("One")
Found = tuple[dict[str, Any], dict[str, str] | None]
"""A slide's outcome as run.json lists it and, if something is wrong, its row of failures.csv."""


def each_slide(
    record: RunRecord,
    folder: Path,
    share: Share,
    slides: Sequence[One],
    work: Callable[[One, Progress], Found],
    finish: Callable[[], None],
    *,
    parts: str = "tiles",
    quiet: bool = False,
) -> None:
    """Do the slides of this process one after the other, and record how it went.

    Args:
        record: The record; gets ``slides`` and ``facts["failures"]``.
        folder: The output folder.
        share: All slides, and which of them this process takes.
        slides: Those that it takes.
        work: Does one of them; an error that it raises ends the run.
        finish: Called after the last one, before the record is closed.
        parts: What the progress counts.
        quiet: Say nothing of the progress.

    Raises:
        OutputError: If the record cannot be written.
    """
    failures: list[dict[str, str]] = record.facts.setdefault(FAILURES, [])
    with (
        shared_record(record, folder, failures, share),
        Progress(len(slides), quiet=quiet, parts=parts) as progress,
    ):
        for one in slides:
            outcome, problem = work(one, progress)
            record.slides.append(outcome)
            detail = outcome.get("detail", "")
            if problem is not None:
                failures.append(problem)
                detail = f"{problem['code']} {problem['message']}"
            progress.slide(outcome["slide"], outcome["outcome"], detail)
        finish()
