"""``evaluate_segmentation``: all figures of segmented images, for metrics.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.bootstrap import (
    ALPHA,
    N_RESAMPLES,
    Estimate,
    Figures,
    join_figures,
    patient_bootstrap,
)
from histokeras.analysis.boundary import MEASURED
from histokeras.analysis.compare import difference_figures
from histokeras.analysis.metrics import Floats, Ints
from histokeras.analysis.regression import value_figures
from histokeras.analysis.segmentation import (
    BOUNDARY_FIGURES,
    BRIER_SKILL,
    CLASS_FIGURES,
    NETWORK,
    NOT_MEASURED,
    PIXEL_FIGURES,
    POSITIVE_FIGURES,
    figures_of,
)
from histokeras.analysis.segmentation_figures import (
    agreement_figures,
    mean_figures,
    pooled_figures,
)
from histokeras.analysis.segmentation_table import (
    MODEL_TITLES,
    ImageCounts,
    read_counts,
    shares,
    sum_of_groups,
)
from histokeras.analysis.segmentation_verdict import segmentation_verdict
from histokeras.errors import TableError
from histokeras.types import FOLD, SLIDE_ID

SEGMENTATION = "segmentation"
_OF_SHARES = ("r2", "pearson", "mae")
Named = dict[str, Any]


def evaluate_segmentation(
    images: pd.DataFrame,
    classes: Sequence[str],
    positive: str | None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Named:
    """Compute the figures of all models of images.csv, with patient-bootstrap intervals.

    Args:
        images: One row a test image: ``image_id``, ``patient_id`` (missing or all empty: slides
            are resampled where images share them, else images), ``slide_id``, ``fold``, and the
            columns of :func:`~histokeras.analysis.segmentation.image_row` of the network
            and of each floor.
        classes: Names of the classes, in order; ``classes[0]`` is what is not of interest.
        positive: The class of interest; None if there is none.
        n_resamples: Resamples behind every interval, at least 1.
        seed: Seed of the draws: the same for all figures.

    Returns:
        metrics.json, plain values: ``task classes positive n_images n_units resampled_by n_px``;
        ``prevalence`` (class -> share of labelled pixels); ``images_without`` (class -> images
        whose truth lacks it); ``constant`` (what saying the commonest class everywhere gets);
        ``main_figure``; ``models`` -> name -> ``title``; ``pooled unit_mean slide_mean image_mean``
        -> figure -> Estimate; ``classes`` -> class -> figure -> Estimate (pooled); ``undefined``
        -> level -> figure -> units left out of its mean; ``range`` -> figure -> ``min median max``
        over images; ``confusion`` (pixels); ``boundary`` -> state -> images; ``share`` -> figure ->
        Estimate, of patients; ``folds``; and, of floors, ``difference`` (network - floor, paired);
        ``verdict`` -> ``beaten against text``. ``unit_mean`` is the mean over patients, or over
        slides or images where patients are unknown.

    Raises:
        TableError: If the table does not fit, or the network is missing.
        ValueError: If ``positive`` is no class, or there are fewer than 2.
    """
    if len(classes) < 2 or (positive is not None and positive not in classes):
        raise ValueError(
            "`classes` must be 2 or more, `positive` one of them. "
            f"Received: classes={list(classes)}, positive={positive!r}"
        )
    counts = read_counts(images, len(classes))
    if NETWORK not in counts.models:
        raise TableError(f"images.csv lacks the network; it has {sorted(counts.models)}.")
    job = _Job(counts, tuple(classes), positive, n_resamples, seed)
    truth: Ints = counts.models[NETWORK].sum(axis=2)
    metrics: Named = {
        "task": SEGMENTATION,
        "classes": list(classes),
        "positive": positive,
        "n_images": len(counts.table),
        "n_slides": _n_slides(counts),
        "n_units": len(counts.ids),
        "resampled_by": counts.unit,
        "n_resamples": n_resamples,
        "seed": seed,
        "alpha": ALPHA,
        "n_px": int(truth.sum()),
        "prevalence": _prevalence(truth, classes),
        "images_without": {name: int((truth[:, k] == 0).sum()) for k, name in enumerate(classes)},
        "constant": _constant(truth, classes, job.number),
        "main_figure": "mean_iou" if positive is None else "dice",
        "models": {name: job.model(name) for name in counts.models},
    }
    metrics["verdict"] = segmentation_verdict(metrics)
    return metrics


class _Job:
    """One evaluation: what all models share."""

    def __init__(
        self,
        counts: ImageCounts,
        classes: tuple[str, ...],
        positive: str | None,
        n_resamples: int,
        seed: int,
    ) -> None:
        self.counts, self.classes = counts, classes
        self.number = None if positive is None else classes.index(positive)
        self._draws = {"n_resamples": n_resamples, "seed": seed}
        self.n_units = len(counts.ids)
        self._levels = self._grouped()

    def _grouped(self) -> dict[str, tuple[Ints, Ints]]:
        """Return, for each level, the unit of every image and the patient of every unit."""
        counts = self.counts
        images = np.arange(len(counts.table), dtype=np.int64)
        levels = {"unit_mean": (counts.units, np.arange(self.n_units, dtype=np.int64))}
        if SLIDE_ID in counts.table and _n_slides(counts) is not None:
            # A slide's name may come again in another patient.
            pairs = pd.MultiIndex.from_arrays([counts.units, counts.table[SLIDE_ID].astype(str)])
            numbers = pd.factorize(pairs)[0].astype(np.int64)
            firsts = np.unique(numbers, return_index=True)[1]
            levels["slide_mean"] = (numbers, counts.units[firsts])
        levels["image_mean"] = (images, counts.units)
        return levels

    def _estimated(self, figures: Figures) -> dict[str, Estimate]:
        return patient_bootstrap(figures, unit=self.counts.unit, **self._draws)

    def _pooled(self, name: str) -> Figures:
        counts = self.counts
        return pooled_figures(
            counts.models[name], counts.errors[name], counts.units, self.classes, self.number
        )

    def _values(self, name: str, level: str) -> dict[str, Floats]:
        """Return the figures of every unit of a level, its pixels added first."""
        units, patients = self._levels[level]
        pixels = sum_of_groups(self.counts.models[name], units, len(patients))
        errors = sum_of_groups(self.counts.errors[name], units, len(patients))
        values = figures_of(pixels, self.number, errors)
        if level == "image_mean" and self.number is not None:
            values |= {figure: self._column(f"{name}_{figure}") for figure in BOUNDARY_FIGURES}
        return values

    def _column(self, name: str) -> Floats:
        if name not in self.counts.table:
            return np.full(len(self.counts.table), np.nan)
        return pd.to_numeric(self.counts.table[name], errors="coerce").to_numpy(np.float64)

    def model(self, name: str) -> Named:
        """Return the block of one model."""
        pooled = self._estimated(self._pooled(name))
        values = {level: self._values(name, level) for level in self._levels}
        block: Named = {
            "title": MODEL_TITLES.get(name, name),
            "pooled": _json(pooled, [figure for figure in pooled if "/" not in figure]),
            "classes": {
                label: {
                    **{figure: pooled[f"{figure}/{label}"].as_json() for figure in CLASS_FIGURES},
                    "n_px_true": int(self.counts.models[name][:, k].sum()),
                    "n_px_predicted": int(self.counts.models[name][:, :, k].sum()),
                }
                for k, label in enumerate(self.classes)
            },
            **{level: self._means(values[level], level) for level in self._levels},
            "undefined": {
                level: {figure: int(np.isnan(v).sum()) for figure, v in found.items()}
                for level, found in values.items()
            },
            "range": {figure: _range(v) for figure, v in values["image_mean"].items()},
            "confusion": self.counts.models[name].sum(axis=0).tolist(),
            "boundary": self._boundary_states(name),
            "share": self._share(name),
            "folds": self._folds(name),
        }
        if name != NETWORK:
            block["difference"] = self._difference(name)
        return block

    def _means(self, values: Mapping[str, Floats], level: str) -> Named:
        patients = self._levels[level][1]
        return _json(self._estimated(mean_figures(values, patients, self.n_units)))

    def _difference(self, name: str) -> Named:
        """Return network - floor: the same draws, and only units where both are defined."""
        own, theirs = self._pooled(NETWORK), self._pooled(name)
        compared = [*PIXEL_FIGURES, *(POSITIVE_FIGURES if self.number is not None else ())]
        network, floor = (self._values(model, "unit_mean") for model in (NETWORK, name))
        paired = {figure: network[figure] - floor[figure] for figure in compared}
        return {
            "pooled": _json(self._estimated(difference_figures(own, theirs, compared))),
            "unit_mean": self._means(paired, "unit_mean"),
        }

    def _boundary_states(self, name: str) -> dict[str, int]:
        """Return how many images have a distance, and why others have none."""
        column = f"{name}_boundary"
        if self.number is None:
            return {}
        if column not in self.counts.table:
            return {NOT_MEASURED: len(self.counts.table)}
        found = self.counts.table[column].fillna(NOT_MEASURED).replace("", NOT_MEASURED)
        states = found.value_counts().to_dict()
        return {MEASURED: 0, **{str(state): int(n) for state, n in sorted(states.items())}}

    def _share(self, name: str) -> Named | None:
        """Return how predicted shares of patients go with the true ones; None without a class."""
        if self.number is None:
            return None
        pixels = sum_of_groups(self.counts.models[name], self.counts.units, self.n_units)
        true, said = shares(pixels, self.number)
        known = np.isfinite(true)
        n = int(known.sum())
        if not n:
            return None
        figures = join_figures(
            value_figures(true[known], said[known], np.arange(n, dtype=np.int64)),
            agreement_figures(true[known], said[known]),
        )
        found = _json(self._estimated(figures))
        return {"n": n, **{key: found[key] for key in (*_OF_SHARES, "bias", "limit_low",
                                                       "limit_high")}}  # fmt: skip

    def _folds(self, name: str) -> list[Named] | None:
        """Return the pooled figures of each test fold alone, without intervals."""
        if FOLD not in self.counts.table:
            return None
        folds = pd.to_numeric(self.counts.table[FOLD], errors="coerce").to_numpy(np.float64)
        rows = []
        for fold in np.unique(folds[np.isfinite(folds)]).tolist():
            mine = folds == fold
            pixels = self.counts.models[name][mine].sum(axis=0)
            error = self.counts.errors[name][mine].sum()
            figures = figures_of(pixels, self.number, np.asarray(error))
            plain = {key: _plain(float(value)) for key, value in figures.items()}
            n_units = len(np.unique(self.counts.units[mine]))
            rows.append({"fold": int(fold), "n_images": int(mine.sum()), "n_units": n_units,
                         **plain})  # fmt: skip
        return rows or None


def _n_slides(counts: ImageCounts) -> int | None:
    if SLIDE_ID not in counts.table:
        return None
    names = counts.table[SLIDE_ID]
    known = names.notna() & (names.astype(str) != "")
    return int(names[known].nunique()) if known.all() else None


def _prevalence(truth: Ints, classes: Sequence[str]) -> dict[str, float | None]:
    total = int(truth.sum())
    return {
        name: float(truth[:, k].sum() / total) if total else None for k, name in enumerate(classes)
    }


def _constant(truth: Ints, classes: Sequence[str], positive: int | None) -> Named:
    """Return what saying the commonest class everywhere would get."""
    pixels = truth.sum(axis=0)
    said = int(pixels.argmax())
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    matrix[:, said] = pixels
    figures = figures_of(matrix, positive)
    wanted = (*PIXEL_FIGURES, *(POSITIVE_FIGURES if positive is not None else ()))
    return {"class": classes[said], **{name: _plain(float(figures[name])) for name in wanted}}


def _range(values: Floats) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    return {"min": float(known.min()), "median": float(np.median(known)), "max": float(known.max())}


def _json(estimates: Mapping[str, Estimate], names: Sequence[str] | None = None) -> Named:
    """Return estimates as plain values; a Brier skill that no probabilities gave is left out."""
    wanted = estimates if names is None else names
    return {
        name: estimates[name].as_json()
        for name in wanted
        if name != BRIER_SKILL or estimates[name].value is not None
    }


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
