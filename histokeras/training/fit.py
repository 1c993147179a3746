"""``hk.fit_head``: features and a cohort in, trained head with its figures out."""

import html
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.format import format_metrics
from histokeras.cohort.grouping import parse_grouping
from histokeras.cohort.split import SHARES, Split, write_split
from histokeras.errors import ConfigError, TableError
from histokeras.features.settings import require_same_settings
from histokeras.features.store import FeatureSet, write_features
from histokeras.files import copy_folder, prepare_folder, safe_name, write_csv
from histokeras.models.catalog import DEFAULT_HEAD, HEAD_RATES, batch_size_of
from histokeras.training.fit_job import FitJob, Study, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.fit_study import FitResult
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.tasks import Fitted
from histokeras.training.vectors import MemoryVectors
from histokeras.types import ATTENTION, CLASSIFICATION, LABEL, REGRESSION, SURVIVAL


@dataclass(frozen=True, repr=False)
class FittedRun:
    """Trained head or heads, and what they gave on patients they had not seen.

    Attributes:
        heads: One head, or one a fold.
        classes: The classes, sorted; the order of all probabilities. None for regression.
        metrics: Figures with intervals, as in metrics.json.
        patients: One row a patient: side, label, mean probabilities, shares of tiles; for
            regression the mean ``pred_<target>``.
        slides: One row a slide.
        funnel: Patients left after each step from the table to the figures.
        dropped: What was left out, with the reason.
        settings: How the features were made.
        folder: The run folder; it goes when this object goes, unless :meth:`save` keeps it.
        task: ``classification`` or ``regression``.
        target: Name of what was learned.
    """

    heads: Sequence[Fitted]
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    patients: pd.DataFrame
    slides: pd.DataFrame
    funnel: dict[str, int]
    dropped: pd.DataFrame
    settings: dict[str, Any]
    folder: Path
    task: str = CLASSIFICATION
    target: str = LABEL

    def save(self, folder: str | Path) -> Path:
        """Keep the run as ``histokeras fit-head -o`` would have written it.

        Args:
            folder: A new or empty folder; `histokeras predict`, `report` and `evaluate` take it.

        Raises:
            ConfigError: If it holds anything.
            OutputError: If it cannot be written.
        """
        place = Path(folder)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ConfigError(f"{place} is not an empty folder.", hint="Choose a new one.")
        return copy_folder(self.folder, place, last="metrics.json")

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch; with folds a column ``fold``."""
        if len(self.heads) == 1:
            return self.heads[0].history
        return pd.concat(
            [head.history.assign(fold=fold) for fold, head in enumerate(self.heads)],
            ignore_index=True,
        )

    def predict_proba(self, features: FeatureSet) -> pd.DataFrame:
        """Predict the tiles of one slide.

        Args:
            features: Made in the same way as those of the training.

        Returns:
            Its tiles with ``prob_<class>``; with folds the mean of the heads.

        Raises:
            FeatureError: If they were made otherwise.
            ConfigError: If a number was learned: it has no probabilities.
        """
        if self.task == REGRESSION:
            raise ConfigError(
                f"this run predicts a number, `{self.target}`, and no probabilities.",
                hint="Call `predict`.",
            )
        return self.predict(features)

    def predict(self, features: FeatureSet) -> pd.DataFrame:
        """Predict the tiles of one slide.

        Args:
            features: Made in the same way as those of the training.

        Returns:
            Its tiles with ``prob_<class>`` (of ``mil`` those of the slide as one bag, and
            ``attention``), or with ``pred_<target>`` in the target's own unit;
            with folds the mean of the heads.

        Raises:
            FeatureError: If they were made otherwise.
        """
        require_same_settings(
            features.settings,
            self.settings,
            where="these features were",
            hint="Extract them in the same way as those of the training.",
        )
        vectors = MemoryVectors(features.vectors)
        # The head's own word comes first.
        said = [head.scores(vectors) for head in self.heads]
        prefix = next(iter(said[0]))
        mean = np.mean([scores[prefix] for scores in said], axis=0)
        columns = {f"{prefix}{name}": mean[:, i] for i, name in enumerate(self._outputs)}
        if ATTENTION in said[0]:
            columns[ATTENTION] = np.mean([scores[ATTENTION] for scores in said], axis=0)[:, 0]
        return features.tiles.assign(**columns)

    @property
    def _outputs(self) -> tuple[str, ...]:
        return (self.target,) if self.task == REGRESSION else self.classes

    def __str__(self) -> str:
        # Val decided when to stop: its figures stand in ``metrics``, and are not those to quote.
        tested = {side: part for side, part in self.metrics["splits"].items() if side == "test"}
        return format_metrics({**self.metrics, "splits": tested})

    def __repr__(self) -> str:
        heads = f"{len(self.heads)} heads" if len(self.heads) > 1 else "1 head"
        what = f"classes {', '.join(self.classes)}"
        if self.task == REGRESSION:
            what = f"regression of {self.target}"
        return f"FittedRun({heads}, {what}; print it for its figures)"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def fit_head(
    features: FeatureSet | Sequence[FeatureSet] | str | Path,
    cohort: pd.DataFrame | str | Path,
    *,
    target: str = LABEL,
    positive: str | None = None,
    group: str | None = None,
    split: Split | None = None,
    shares: tuple[float, float, float] = SHARES,
    folds: int | None = None,
    preserve_site: bool = False,
    head: str = DEFAULT_HEAD,
    epochs: int = 100,
    learning_rate: float | None = None,
    seed: int = 0,
    slide_table: pd.DataFrame | str | Path | None = None,
    patients_unknown: bool = False,
    task: str = CLASSIFICATION,
) -> FittedRun:
    """Train a top-up head, early-stopped on val, evaluated on test patients.

    Args:
        features: Features of several slides, or the folder that ``extract-features`` wrote.
        cohort: Label table (or its path): patient_id, slide_id or tile, and ``target``.
        target: Column of the table that is learned.
        positive: Of two classes the positive one.
        group: A class against the rest, or classes as one: see
            :func:`histokeras.cohort.grouping.parse_grouping`.
        split: From :func:`histokeras.split_patients`; made here if None.
        shares: Percent of train, val and test patients, if split here.
        folds: Cross-validate with this many folds instead.
        preserve_site: With ``folds``: put no site into two of them; the seed does not matter then.
        head: ``linear``, ``mlp`` or ``write-up``; ``mil`` for attention over all tiles of a
            labelled slide or patient.
        epochs: At most.
        learning_rate: Of Adam; the head's own if None.
        seed: Of split, initial weights, order and dropout.
        slide_table: Table (or its path) with slide_id and patient_id, where the labels stand at the
            patient and slides are not named by TCGA barcodes.
        patients_unknown: Accept slides without patients; every figure then says so.
        task: ``classification``, or ``regression`` where the target is a number.

    Returns:
        Heads, figures with intervals, patients.

    Raises:
        TableError: If tables do not fit each other or the features.
        LeakageError: If a patient lies on two sides of the split.
    """
    if task == SURVIVAL:
        raise ConfigError(
            "`fit_head` learns classes and numbers.",
            hint="Survival: `histokeras fit-head FEATURES --labels TABLE --task survival`.",
        )
    if head not in HEAD_RATES:
        raise ConfigError(f"`head` must be one of {', '.join(HEAD_RATES)}. Received: {head!r}")
    rate = learning_rate or HEAD_RATES[head]
    fit = FitConfig(epochs=epochs, batch_size=batch_size_of(head), learning_rate=rate, seed=seed)
    config = HeadConfig(head=head, fit=fit)
    with tempfile.TemporaryDirectory() as name:
        # One way from features to figures, for files and for memory.
        work = Path(name)
        job = FitJob(
            features=_folder(features, work),
            labels=_table(cohort, work, "labels.csv"),
            slide_table=None if slide_table is None else _table(slide_table, work, "slides.csv"),
            target=target,
            positive=positive,
            group=None if group is None else parse_grouping(group),
            split=_split(split, work),
            shares=shares,
            folds=folds,
            preserve_site=preserve_site,
            head=config,
            patients_unknown=patients_unknown,
            task=task,
        )
        study = prepare_study(job)
        folder = Path(tempfile.mkdtemp(prefix="histokeras-run-"))
        try:
            options = {"target": target, **job.head_options}
            result = run_fit(job, study, folder, config=options)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    assert result is not None
    run = _fitted(study, result, folder)
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    return run


def _fitted(study: Study, result: FitResult, folder: Path) -> FittedRun:
    return FittedRun(
        [fold.fitted for fold in result.folds],
        study.cohort.classes,
        result.metrics,
        result.predictions.patients,
        result.predictions.slides,
        study.joined.funnel,
        study.dropped,
        study.index.settings,
        folder,
        study.cohort.task,
        study.cohort.target,
    )


def _folder(features: FeatureSet | Sequence[FeatureSet] | str | Path, work: Path) -> Path:
    if isinstance(features, (str, Path)):
        return Path(features)
    several = [features] if isinstance(features, FeatureSet) else list(features)
    if not several or not all(isinstance(item, FeatureSet) for item in several):
        raise ConfigError(
            "`features` are FeatureSets of several slides, or a folder. "
            f"Received: {type(features).__name__}"
        )
    folder = prepare_folder(work / "features")
    names = [item.slide_id for item in several]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"two of the features are of slide {twice!r}.", code="DUPLICATE_SLIDE_ID")
    for item in several:
        write_features(folder / f"{safe_name(item.slide_id)}.h5", item)
    return work


def _table(table: pd.DataFrame | str | Path, work: Path, name: str) -> Path:
    if isinstance(table, (str, Path)):
        return Path(table)
    write_csv(work / name, table)
    return work / name


def _split(split: Split | None, work: Path) -> Path | None:
    if split is None:
        return None
    write_split(work / "split.csv", split)
    return work / "split.csv"
