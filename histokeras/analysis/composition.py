"""Tissue composition: the share of each class among the tiles of slides and patients."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.aggregate import N_SLIDES, N_TILES
from histokeras.analysis.composition_correct import Correction
from histokeras.analysis.composition_figures import SLIDES, Composer, CompositionConfig, SlideCounts
from histokeras.tables import require_disjoint_patients
from histokeras.types import PATIENT_ID, SLIDE_ID, SPLIT


@dataclass(frozen=True, eq=False)
class Composition:
    """Tables of a composition.

    Attributes:
        slides: One row a slide, sorted: ids, ``split``, counts and figures.
        patients: The same of patients; empty where none is known.
        classes: The classes that have shares, in order.
        figures: Names of the columns of figures; ``<figure>_low`` and ``_high`` are its ends.
        dropped: ``kind, id, reason`` of slides and patients without figures.
    """

    slides: pd.DataFrame
    patients: pd.DataFrame
    classes: tuple[str, ...]
    figures: tuple[str, ...]
    dropped: pd.DataFrame = field(default_factory=pd.DataFrame)


def compose(
    slides: Iterable[SlideCounts],
    classes: Sequence[str],
    config: CompositionConfig | None = None,
    correction: Correction | None = None,
) -> Composition:
    """Compute the composition of slides and patients.

    Args:
        slides: What is kept of each slide. Parts of one slide (the same ids and side) are joined.
        classes: The classes of the predictions, in order.
        config: How; the defaults if None.
        correction: Of shares, by the errors of a run.

    Returns:
        Tables whose figures are NaN where they are not defined or the tiles too few. A slide's
        interval does not depend on the other slides, nor on their order.

    Raises:
        ConfigError: If the options cannot be.
        LeakageError: If a patient lies on two sides of the split.
    """
    composer = Composer(classes, config or CompositionConfig(), correction)
    every = _joined(slides)
    rows = [
        {
            SLIDE_ID: one.slide_id,
            PATIENT_ID: one.patient_id,
            SPLIT: one.split,
            **composer.row([one]),
        }
        for one in every
        if one.slide_id
    ]
    by_patient: dict[str, list[SlideCounts]] = {}
    for one in every:
        if one.patient_id and one.pooled:
            by_patient.setdefault(one.patient_id, []).append(one)
    sides = [(one.patient_id, one.split) for one in every if one.patient_id]
    require_disjoint_patients(pd.DataFrame(sides, columns=[PATIENT_ID, SPLIT]))
    mean = composer.config.pool == SLIDES
    patients = [
        {
            PATIENT_ID: name,
            SPLIT: own[0].split,
            N_SLIDES: len({one.slide_id for one in own} - {""}),
            **composer.row(own, mean_of_slides=mean),
        }
        for name, own in sorted(by_patient.items())
    ]
    # A table without rows has its first columns all the same.
    tables = (
        pd.DataFrame(rows, columns=None if rows else [SLIDE_ID, PATIENT_ID, SPLIT, N_TILES]),
        pd.DataFrame(patients, columns=None if patients else [PATIENT_ID, SPLIT, N_TILES]),
    )
    dropped = _few_tiles(tables, composer.config)
    return Composition(*tables, composer.classes, composer.figures, dropped)


def _joined(slides: Iterable[SlideCounts]) -> list[SlideCounts]:
    parts: dict[tuple[str, str, str, bool], list[SlideCounts]] = {}
    for one in slides:
        key = (one.slide_id, one.patient_id, one.split, one.pooled)
        parts.setdefault(key, []).append(one)
    return [
        own[0]
        if len(own) == 1
        else replace(own[0], sums=np.sum([part.sums.sum(axis=0) for part in own], axis=0)[None])
        for _, own in sorted(parts.items(), key=lambda item: item[0])
    ]


def _few_tiles(tables: Sequence[pd.DataFrame], config: CompositionConfig) -> pd.DataFrame:
    lost = []
    for kind, table in zip(("slide", "patient"), tables, strict=True):
        few = table[table[N_TILES] < config.min_tiles]
        lost += [
            (kind, name, f"fewer than {config.min_tiles} tiles: no figures")
            for name in few[f"{kind}_id"]
        ]
    return pd.DataFrame(lost, columns=["kind", "id", "reason"], dtype=object)


def summary(table: pd.DataFrame, figures: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return number, median and quartiles of each figure over slides or patients that have it."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in figures:
        values = table[name].dropna().to_numpy(np.float64) if name in table else np.empty(0)
        cuts = np.quantile(values, (0.25, 0.5, 0.75)).tolist() if len(values) else [None] * 3
        found[name] = {"n": len(values), "q1": cuts[0], "median": cuts[1], "q3": cuts[2]}
    return found
