"""What ``fit-head`` is asked for, and its inputs joined: labels, patients, split, features."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.bootstrap import N_RESAMPLES
from histokeras.analysis.figures import SPECIFICITY
from histokeras.cohort.categories import category_values
from histokeras.cohort.clinical_values import clinical_values
from histokeras.cohort.grouping import Grouping
from histokeras.cohort.join import Joined, join_labels
from histokeras.cohort.labels import Cohort, read_cohort
from histokeras.cohort.outcome_labels import require_one_outcome, with_outcome
from histokeras.cohort.pseudonyms import (
    patients_by_slide,
    read_labels,
    read_pseudonyms,
    require_renamed,
    translated_split,
)
from histokeras.cohort.sides import require_learnable
from histokeras.cohort.sites import read_unit_sites
from histokeras.cohort.split import SHARES, split_patients, split_units
from histokeras.cohort.split_file import read_split
from histokeras.cohort.split_table import Split, apply_split
from histokeras.errors import ConfigError, TableError
from histokeras.features.index import FeatureIndex, index_features, own_labels
from histokeras.files import sha256_text
from histokeras.models.catalog import BAG_HEADS, RISK_HEADS, TILE_HEADS
from histokeras.runs.record import read_left_out, read_outcomes, read_record
from histokeras.training.head import HeadConfig
from histokeras.training.tasks import TASKS as LABELLED_TASKS
from histokeras.types import (
    CLASSIFICATION,
    LABEL,
    PATIENT_ID,
    REGRESSION,
    SURVIVAL,
    TASKS,
    TILE,
)

CATEGORY = "category_"
"""Prefix of the columns of units that hold tumour type and site."""


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """What to learn from what.

    Attributes:
        features: Folder of feature files.
        labels: Table of labels; None for those the ready-made tiles came with.
        target: Its column.
        positive: Of two classes the positive one.
        slide_table: Table with slide_id and patient_id.
        split: A split file; None to split here.
        shares: Percent of train, val and test, if split here.
        folds: Number of folds for cross-validation, if split here.
        stratify: Further columns to balance, if split here.
        preserve_site: Put no site into two folds; needs ``folds``, excludes ``stratify``.
        patients_unknown: Accept slides or tiles without patients.
        strict: Refuse rows without a label.
        head: Which head, how trained.
        memory_gb: Features beyond this are streamed.
        n_resamples: Resamples behind each interval.
        specificity: At which sensitivity is given.
        task: ``classification``, ``regression`` where the target is a number, or ``survival``.
        pseudonyms: Table of pseudonyms, by which labels, slide table and split are translated.
        time: For survival the column of follow-up times; None for the one that is called so.
        event: Its column of events.
        clinical: Its columns that a model without pictures learns from; empty for those known.
        with_clinical: Whether the head of survival learns from them too, beside the features.
        group: Which classes of the labels count as one; None for each on its own.
    """

    features: Path
    labels: Path | None = None
    target: str = LABEL
    positive: str | None = None
    slide_table: Path | None = None
    split: Path | None = None
    shares: tuple[float, float, float] = SHARES
    folds: int | None = None
    stratify: Sequence[str] = ()
    preserve_site: bool = False
    patients_unknown: bool = False
    strict: bool = False
    head: HeadConfig = field(default_factory=HeadConfig)
    memory_gb: float = 4.0
    n_resamples: int = N_RESAMPLES
    specificity: float = SPECIFICITY
    task: str = CLASSIFICATION
    pseudonyms: Path | None = None
    time: str | None = None
    event: str | None = None
    clinical: Sequence[str] = ()
    with_clinical: bool = False
    group: Grouping | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(
                f"`task` must be one of {', '.join(TASKS)}. Received: task={self.task!r}"
            )
        if self.task != CLASSIFICATION and self.group is not None:
            raise ConfigError("`--group` is of classes: a number has none.")
        if self.task == REGRESSION and self.head.head in BAG_HEADS:
            raise ConfigError(
                f"--head {self.head.head} learns classes, and no number.",
                hint=f"Give --head {', '.join(TILE_HEADS)} with --task regression.",
            )
        if self.task == SURVIVAL and self.head.head not in RISK_HEADS:
            raise ConfigError(
                f"--head {self.head.head} does not learn survival.",
                hint=f"Give --head {', '.join(RISK_HEADS)} with --task survival.",
            )
        of_survival = (self.time, self.event, self.clinical, self.with_clinical)
        if self.task != SURVIVAL and any(of_survival):
            raise ConfigError(
                "`--time`, `--event`, `--clinical-columns` and `--with-clinical` are for "
                "`--task survival`."
            )
        if self.preserve_site and (self.folds is None or self.stratify):
            raise ConfigError(
                "`--preserve-site` makes folds and balances the target alone: give `--cv K` and no "
                "`--split`, `--shares` or `--stratify`.",
                hint="A file of `histokeras split --cv K --preserve-site` needs `--split` alone.",
            )

    @property
    def positive_class(self) -> str | None:
        """The positive class as asked for, else that of the grouping."""
        return self.positive or (self.group.positive if self.group is not None else None)

    @property
    def grouping(self) -> dict[str, str]:
        """What records say of the grouping: nothing without one, so that older runs are known."""
        return {} if self.group is None else {"group": str(self.group)}

    @property
    def head_options(self) -> dict[str, object]:
        """How the head is trained, as plain values; only classes have class weights."""
        options = self.head.as_dict()
        if self.task != CLASSIFICATION:
            del options["class_weight"]
        return options


@dataclass(frozen=True)
class Study:
    """Features, labels and split, joined: all that fitting needs.

    Attributes:
        index: The feature files.
        cohort: The labels.
        joined: Slides or tiles with patient and label, and ``category_<name>`` where the table
            tells tumour type or site.
        split: Who is on which side.
        dropped: Every row, slide or tile that is not used, with the reason.
        inputs: Digests of features, labels and split, and the settings: what decides the result.
    """

    index: FeatureIndex
    cohort: Cohort
    joined: Joined
    split: Split
    dropped: pd.DataFrame
    inputs: dict[str, Any]

    @property
    def tiles_mpp(self) -> dict[str, float]:
        """What a card says of the resolution of ready-made tiles; nothing where it is unknown."""
        known = self.index.tiles_mpp
        return {} if known is None else {"tiles_mpp": known}


def prepare_study(job: FitJob) -> Study:
    """Read labels, join them to the features and split the patients.

    Args:
        job: What to learn.

    Raises:
        TableError: If tables do not fit each other or the features.
        LeakageError: If a patient lies on two sides of the split.
        FeatureError: If the features do not belong together.
        ConfigError: If options contradict each other.
    """
    index = index_features(job.features)
    others = _slides_without_features(job.features, index)
    try:
        cohort, joined, split = join_study(job, index.units(), index.tiles, others)
    except TableError as error:
        raise told_of_pseudonyms(error, job.features, job.pseudonyms) from error
    placed, outside = apply_split(joined.units, split, 0 if split.folds else None)
    joined.funnel["used"] = placed[PATIENT_ID].nunique()
    inputs = {
        "features": index.digest,
        "labels": sha256_text(joined.units.to_csv(index=False)),
        "level": cohort.level,
        "classes": cohort.classes,
        # Streamed vectors come in another order than those held in memory.
        "streamed": job.memory_gb if _is_large(index, job.memory_gb) else 0,
        "split": split.digest,
        "head options": job.head_options,
        "positive": job.positive_class,
        "n_resamples": job.n_resamples,
        "specificity": job.specificity,
        # Not written for classes, so that runs from before there were numbers are known again.
        **({} if job.task == CLASSIFICATION else {"task": job.task, "target": cohort.target}),
        **({"clinical": list(job.clinical)} if job.clinical else {}),
        **(_learned_columns(cohort, joined, job) if job.with_clinical else {}),
        **job.grouping,
        **({} if index.tiles_mpp is None else {"tiles_mpp": index.tiles_mpp}),
    }
    failed = pd.DataFrame(_never_extracted(job.features, index), columns=["kind", "id", "reason"])
    parts = [table for table in (failed, joined.dropped, outside) if len(table)]
    dropped = pd.concat(parts, ignore_index=True) if parts else failed
    return Study(index, cohort, joined, split, dropped, inputs)


def _learned_columns(cohort: Cohort, joined: Joined, job: FitJob) -> dict[str, str]:
    """Return the digest of the clinical values that the head learns from; refuse to have none."""
    values = clinical_values(cohort, joined, job.clinical)
    if not values:
        raise TableError(
            "`--with-clinical`: the label table has no columns that are known to be clinical.",
            code="COLUMN_MISSING",
            hint="Name them: `--clinical-columns age,pT`.",
        )
    return {"with clinical": sha256_text(pd.DataFrame(values).to_csv())}


def join_study(
    job: FitJob, units: pd.DataFrame, tiles: pd.DataFrame | None, others: Sequence[str] = ()
) -> tuple[Cohort, Joined, Split]:
    """Read labels, join them to slides or tiles, and split the patients.

    Args:
        job: What to learn.
        units: One row a slide (or ready-made tile).
        tiles: The ready-made tiles with the labels they came with; None for slides.
        others: Slides that are known of, but have no features.

    Raises:
        TableError: If tables do not fit each other or the slides.
        LeakageError: If a patient lies on two sides of the split.
        ConfigError: If options contradict each other.
    """
    pseudonyms = read_pseudonyms(job.pseudonyms)
    require_renamed(units, pseudonyms)
    source: Any = own_labels(tiles) if job.labels is None else read_labels(job.labels, pseudonyms)
    target = job.target if job.labels is not None else LABEL
    if job.task == SURVIVAL:
        source, target = with_outcome(source, job.time, job.event)
    cohort = read_cohort(source, target=target, task=job.task, strict=job.strict, group=job.group)
    _require_fitting(job, cohort)
    joined = join_labels(
        units,
        cohort,
        slide_patients=patients_by_slide(job.slide_table, pseudonyms, cohort.table),
        slides=others,
        patients_unknown=job.patients_unknown,
    )
    if job.task == SURVIVAL:
        require_one_outcome(joined.units)
        # Columns that are named wrongly are said before any work.
        clinical_values(cohort, joined, job.clinical)
    found = category_values(cohort, joined)
    columns = {f"{CATEGORY}{name}": values for name, values in found.items()}
    joined = dataclasses.replace(joined, units=joined.units.assign(**columns))
    split = _split(job, cohort, joined)
    require_learnable(joined.units, split, job.task)
    return cohort, joined, split


def _require_fitting(job: FitJob, cohort: Cohort) -> None:
    """Refuse a positive class where there is none to choose, and labels of tiles for whole ones."""
    if job.task != SURVIVAL:
        LABELLED_TASKS[job.task].positive(cohort, job.positive_class)
    if cohort.level != TILE:
        return
    if job.task == SURVIVAL:
        raise TableError(
            "time and event stand at the tile: survival is of patients.",
            code="LEVEL_UNFIT",
            hint="Give a table with one row a patient: patient_id, time, event.",
        )
    if job.head.head in BAG_HEADS:
        raise TableError(
            f"labels stand at the tile: --head {job.head.head} learns slides or patients as a "
            "whole.",
            code="LEVEL_UNFIT",
            hint=f"Give labels by slide_id or patient_id, or --head {', '.join(TILE_HEADS)}.",
        )


def told_of_pseudonyms(error: TableError, features: Path, pseudonyms: Path | None) -> TableError:
    """Return an error of ids that do not fit with its cause, where the features' names tell it.

    Args:
        error: What was raised.
        features: The features.
        pseudonyms: The table that was given; None for none.
    """
    if error.code not in ("NO_OVERLAP", "ID_RULE") or pseudonyms or not features.is_dir():
        return error
    if not read_record(features).get("config", {}).get("pseudonyms"):
        return error
    hint = "The features go by pseudonyms: give their table with `--pseudonyms` too."
    return TableError(error.message, code=error.code, hint=hint)


def _is_large(index: FeatureIndex, memory_gb: float) -> bool:
    return 4 * sum(index.n_tiles) * index.n_features > memory_gb * 1e9


def _never_extracted(folder: Path, index: FeatureIndex) -> list[tuple[str, str, str]]:
    """Return kind, id and reason of the slides that ``extract-features`` gave no features of."""
    left_out = read_left_out(folder) if folder.is_dir() else {}
    return [
        *(("slide", name, "failed in extract-features") for name in index.failed),
        *(("slide", name, f"left out, {why}") for name, why in left_out.items()),
    ]


def _slides_without_features(folder: Path, index: FeatureIndex) -> list[str]:
    if index.tiles is not None or not folder.is_dir():
        return []
    return sorted(set(read_outcomes(folder)) - set(index.names))


def _split(job: FitJob, cohort: Cohort, joined: Joined) -> Split:
    if job.split is not None:
        if job.folds is not None:
            raise ConfigError(
                "`--split` and `--cv` exclude each other: a split file has its folds."
            )
        split = translated_split(read_split(job.split), read_pseudonyms(job.pseudonyms))
        if split.note and not job.patients_unknown:
            raise ConfigError(
                f"the split {job.split.name} is {split.note}.",
                code="PATIENT_UNKNOWN",
                hint="Make one by patient, or accept it with --patients-unknown.",
            )
        return split
    how: dict[str, Any] = {"shares": job.shares, "seed": job.head.fit.seed, "folds": job.folds}
    if job.stratify:
        # Only the label table has the further columns: split it, as `histokeras split` does.
        return split_patients(
            cohort, stratify=tuple(job.stratify), patients_unknown=job.patients_unknown, **how
        )
    sites = read_unit_sites(cohort, joined) if job.preserve_site else None
    target = cohort.target if job.task == SURVIVAL else job.target
    return split_units(joined, target=target, sites=sites, **how)
