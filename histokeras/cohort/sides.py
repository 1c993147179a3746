"""Whether the sides of a split hold what is needed to learn from: every class, enough patients."""

from collections import Counter
from collections.abc import Iterator, Mapping

import pandas as pd

from histokeras.cohort.outcome_labels import require_events
from histokeras.cohort.split_table import Split, apply_split
from histokeras.errors import TableError
from histokeras.types import CLASSIFICATION, LABEL, PATIENT_ID, SPLIT, SPLITS, SURVIVAL

_ANEW = "Split anew with `histokeras split`, or check which slides have features."


def require_learnable(units: pd.DataFrame, split: Split, task: str) -> None:
    """Refuse a split that nothing can be learned from, before any work.

    Args:
        units: Slides or tiles with ``patient_id``, ``label`` and the split's unit column.
        split: The split.
        task: What is learned: of numbers only that there are some is asked, of survival that there
            are events enough.

    Raises:
        TableError: SPLIT_IMPOSSIBLE if train or val is empty, train lacks a class, or a class
            stands on one side alone; TOO_FEW_EVENTS; NO_OVERLAP if the split names none of the
            units.
        LeakageError: If a patient lies on two sides.
    """
    for where, placed in _folds(units, split):
        counts = side_counts(placed, by_class=task == CLASSIFICATION)
        train, val, test = (counts[side] for side in SPLITS)
        for side in SPLITS[:2]:
            if not any(counts[side].values()):
                raise _impossible(f"nobody is in {side}{where}", counts)
        lacking = ", ".join(name for name, n in train.items() if not n)
        if lacking:
            raise _impossible(f"there are no class(es) {lacking} in train{where}", counts)
        alone = ", ".join(name for name in train if not val[name] + test[name])
        if alone:
            what = f"class(es) {alone} are in train alone{where}"
            raise _impossible(f"{what}: nothing could be said of them", counts)
        if task == SURVIVAL:
            require_events(placed, where)


def side_counts(placed: pd.DataFrame, *, by_class: bool = True) -> dict[str, dict[str, int]]:
    """Count patients.

    Args:
        placed: Slides or tiles with ``patient_id``, ``label`` and ``split``.
        by_class: Whether classes are counted apart.

    Returns:
        Side (train, val, test) to class, or to the one word "patients", to number.
    """
    labels = placed[LABEL].astype(str).tolist() if by_class else ["patients"] * len(placed)
    found = set(zip(placed[SPLIT], labels, placed[PATIENT_ID], strict=True))
    counts = Counter((side, name) for side, name, _ in found)
    names = sorted(set(labels))
    return {side: {name: counts[side, name] for name in names} for side in SPLITS}


def _folds(units: pd.DataFrame, split: Split) -> Iterator[tuple[str, pd.DataFrame]]:
    if split.folds is None:
        yield "", apply_split(units, split)[0]
        return
    for fold in range(split.folds):
        yield f" of fold {fold}", apply_split(units, split, fold)[0]


def _impossible(what: str, counts: Mapping[str, Mapping[str, int]]) -> TableError:
    sides = [
        f"{side} " + ", ".join(f"{name} {n}" for name, n in found.items())
        for side, found in counts.items()
    ]
    return TableError(
        f"{what} (patients: {'; '.join(sides)}).", code="SPLIT_IMPOSSIBLE", hint=_ANEW
    )
