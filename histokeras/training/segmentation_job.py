"""What ``fit-segmenter`` is asked for, and its inputs opened once: images, classes, split."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.bootstrap import N_RESAMPLES
from histokeras.analysis.segmentation_table import IMAGE_ID
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.split import SHARES, split_patients
from histokeras.cohort.split_file import read_split
from histokeras.cohort.split_table import Split, apply_split
from histokeras.data.open_pair import MPP_TOLERANCE, OpenPair, open_pair
from histokeras.data.pair import Pair
from histokeras.data.pair_pool import PairPool, n_open_of
from histokeras.data.pairs import PairSet
from histokeras.data.places import Places, cell_px_of
from histokeras.errors import ConfigError, LeakageError, TableError
from histokeras.files import sha256_file, sha256_text
from histokeras.models.segmenters import SegmenterSpec
from histokeras.training.segmentation import Side
from histokeras.training.segmentation_config import SegmenterConfig
from histokeras.training.segmentation_evaluate import Task
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID, SPLIT, SPLITS, Mpp

NUMBER = "number"
"""Column of units: number of the image in the pool."""
_UNKNOWN = "unknown"
"""Column of units: whether nobody knows the patient; its slide stands in for it."""
_WITH, _WITHOUT = "present", "absent"


@dataclass(frozen=True, kw_only=True)
class SegmenterJob:
    """What to learn from what.

    Attributes:
        pairs: Images with their class masks.
        mpp: Working resolution in um per pixel; None for the images' own.
        spec: Which network, with as many classes as the masks have.
        weights: Of its backbone: ``imagenet``, a path, ``random:SEED``; its default if None.
        trust: SHA-256 of a whole model whose weights may be taken.
        config: How it is trained.
        split: A split file; None to split here.
        shares: Percent of train, val and test, if split here.
        folds: Number of folds for cross-validation, if split here.
        patients_unknown: Accept images without patients.
        gpus: ``all``, ``cpu`` or numbers.
        workers: Reading threads; the number of cores, at most 8, if None.
        n_resamples: Resamples behind each interval.
        say: Called with a line for the user now and then.
    """

    pairs: PairSet
    mpp: Mpp | None = None
    spec: SegmenterSpec
    weights: str | None = None
    trust: str | None = None
    config: SegmenterConfig = field(default_factory=SegmenterConfig)
    split: Path | None = None
    shares: tuple[float, float, float] = SHARES
    folds: int | None = None
    patients_unknown: bool = False
    gpus: str = "all"
    workers: int | None = None
    n_resamples: int = N_RESAMPLES
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class SegmentationStudy:
    """Images, class masks and split, opened once: all that fitting needs.

    Attributes:
        pool: Reads the images.
        places: Where in each which classes lie.
        mpp: Working resolution; None where it is not known.
        task: What is segmented.
        units: One row an image: ``number image_id slide_id patient_id``.
        split: Who is on which side.
        dropped: What is not used: ``kind id reason``.
        funnel: How many were found, and how many are left.
        inputs: Digests and settings: what decides the result.
        note: "" or why the split is not patient-safe; every output repeats it.
        notes: What else the user should know, a line each.
    """

    pool: PairPool
    places: Sequence[Places]
    mpp: Mpp | None
    task: Task
    units: pd.DataFrame
    split: Split
    dropped: pd.DataFrame
    funnel: dict[str, int]
    inputs: dict[str, Any]
    note: str
    notes: tuple[str, ...]

    @property
    def fold_numbers(self) -> list[int | None]:
        """Numbers of the folds; [None] without cross-validation."""
        return list(range(self.split.folds)) if self.split.folds else [None]

    def placed(self, fold: int | None) -> pd.DataFrame:
        """Return the units that the split names, with their side."""
        return apply_split(self.units, self.split, fold)[0]

    def side(self, fold: int | None, name: str) -> Side:
        """Return the images of a side that have labelled pixels."""
        placed = self.placed(fold)
        rows = placed[placed[SPLIT] == name]
        images = rows[NUMBER].to_numpy(np.int64)
        labelled = np.array([self.places[at].class_counts.any() for at in images], bool)
        patients = np.unique(rows[PATIENT_ID].to_numpy(str), return_inverse=True)[1]
        chosen = images[labelled]
        return Side(
            self.pool,
            chosen,
            [self.places[at] for at in chosen],
            patients.astype(np.int64)[labelled],
        )


def prepare_segmentation(job: SegmenterJob) -> SegmentationStudy:
    """Open every image once, count its classes and split the patients.

    Args:
        job: What to learn.

    Raises:
        TableError: If there are too few patients, or a class is not where it is needed.
        LeakageError: If a patient lies on two sides of the split, or an image under two patients.
        ConfigError: If options contradict each other, or images differ in resolution.
        SlideError: If an image or mask cannot be read.
    """
    pairs = job.pairs
    task = Task(pairs.classes, pairs.positive)
    openers = [partial(_open, pairs, pair, job.mpp) for pair in pairs.pairs]
    places, mpps = _look(openers)
    mpp = _one_mpp(pairs.pairs, mpps, job.mpp)
    units, note = _units(pairs.pairs, job.patients_unknown)
    _refuse_twins(pairs.pairs, units[PATIENT_ID].tolist())
    split = _split(job, units, places, task)
    placed, outside = apply_split(units, split, 0 if split.folds else None)
    study = SegmentationStudy(
        pool=PairPool(openers, n_open_of([item.size_px for item in places])),
        places=places,
        mpp=mpp,
        task=task,
        units=units,
        split=split,
        dropped=pd.concat([_left_out(pairs), outside], ignore_index=True),
        funnel={
            "patients": int(units[PATIENT_ID].nunique()),
            "images": len(units),
            "used": int(placed[PATIENT_ID].nunique()),
        },
        inputs={
            "pairs": pairs.content_id,
            "classes": list(task.classes),
            "positive": task.positive,
            "mpp": mpp,
            "network": dict(vars(job.spec)),
            "training": job.config.as_dict(),
            "split": split.digest,
            "patients": sha256_text(units.to_csv(index=False)),
            "n_resamples": job.n_resamples,
        },
        note=split.note or note,
        notes=tuple(_size_notes(places, job.config.crop_px)),
    )
    for fold in study.fold_numbers:
        _require_classes(study, fold)
    return study


def _open(pairs: PairSet, pair: Pair, mpp: Mpp | None) -> OpenPair:
    return open_pair(pair, pairs.decoding, mpp=mpp)


def _look(
    openers: Sequence[Callable[[], OpenPair]],
) -> tuple[list[Places], list[Mpp | None]]:
    """Open each image once: what is wrong is found before any training."""
    places: list[Places] = []
    mpps: list[Mpp | None] = []
    for opener in openers:
        pair = opener()
        try:
            cell = cell_px_of(pair.size_px)
            places.append(Places(pair.size_px, cell, pair.counts(cell)))
            mpps.append(None if pair.mpp is None else Mpp(pair.mpp))
        finally:
            pair.close()
    return places, mpps


def _one_mpp(pairs: Sequence[Pair], mpps: Sequence[Mpp | None], asked: Mpp | None) -> Mpp | None:
    """Return the resolution of all images; refuse to mix several."""
    if asked is not None:
        return asked
    known = [(value, pair) for value, pair in zip(mpps, pairs, strict=True) if value is not None]
    if not known:
        return None
    low, high = min(known, key=lambda row: row[0]), max(known, key=lambda row: row[0])
    if high[0] > low[0] * (1 + MPP_TOLERANCE):
        raise ConfigError(
            f"images differ in resolution: {low[1].image_id} has {low[0]:.3g} um per pixel, "
            f"{high[1].image_id} {high[0]:.3g}.",
            code="MPP_MIXED",
            hint=f"Give the one to work at, such as --mpp {high[0]:.3g}.",
        )
    if len(known) < len(pairs):
        unknown = next(pair for value, pair in zip(mpps, pairs, strict=True) if value is None)
        raise ConfigError(
            f"the resolution of {len(known)} of {len(pairs)} images is known; not that of "
            f"{unknown.image_id}.",
            code="MPP_MISSING",
            hint="Give a column `mpp` for all in the table of --pairs.",
        )
    return Mpp(float(np.median([value for value, _ in known])))


def _units(pairs: Sequence[Pair], accepted: bool) -> tuple[pd.DataFrame, str]:
    table = pd.DataFrame(
        {
            NUMBER: range(len(pairs)),
            IMAGE_ID: [pair.image_id for pair in pairs],
            SLIDE_ID: [pair.slide_id for pair in pairs],
            PATIENT_ID: [pair.patient_id or "" for pair in pairs],
        }
    )
    unknown = table[_UNKNOWN] = table[PATIENT_ID] == ""
    if not unknown.any():
        return table, ""
    if not accepted:
        raise TableError(
            f"the patient of {unknown.sum()} of {len(table)} image(s) is unknown, first "
            f"{table[IMAGE_ID][unknown].iloc[0]}.",
            code="PATIENT_UNKNOWN",
            hint="Give a table with slide_id and patient_id columns as --slide-table, or one with "
            "image and patient_id as --pairs, or accept a split that is not patient-safe with "
            "--patients-unknown.",
        )
    # Crops of one slide stay together as far as names tell.
    table[PATIENT_ID] = np.where(unknown, table[SLIDE_ID], table[PATIENT_ID])
    return table, "slide-level, not patient-safe"


def _refuse_twins(pairs: Sequence[Pair], patients: Sequence[str]) -> None:
    """Refuse one picture under two patients: it would be learned from and tested on."""
    sizes = Counter(pair.image.stat().st_size for pair in pairs)
    seen: dict[str, tuple[str, str]] = {}
    for pair, patient in zip(pairs, patients, strict=True):
        if sizes[pair.image.stat().st_size] == 1:
            continue
        other, whose = seen.setdefault(sha256_file(pair.image), (pair.image_id, patient))
        if whose != patient:
            raise LeakageError(
                f"images {other} and {pair.image_id} are the same file, of the patients {whose} "
                f"and {patient}.",
                hint="Leave one out, or name their patient in the table of --pairs.",
            )


def _split(job: SegmenterJob, units: pd.DataFrame, places: Sequence[Places], task: Task) -> Split:
    if job.split is not None:
        split = read_split(job.split)
        if split.note and not job.patients_unknown:
            raise ConfigError(
                f"the split {job.split.name} is {split.note}.",
                code="PATIENT_UNKNOWN",
                hint="Make one by patient, or accept it with --patients-unknown.",
            )
        return split
    sides = job.folds or sum(share > 0 for share in job.shares)
    n_patients = units[PATIENT_ID].nunique()
    if n_patients < sides:
        raise TableError(
            f"{n_patients} patient(s) cannot be put on {sides} "
            f"{'folds' if job.folds else 'sides'}.",
            code="SPLIT_IMPOSSIBLE",
            hint=f"Give --cv {max(n_patients, 3)} at most, or images of more patients."
            if job.folds and n_patients >= 3
            else "Give --cv 3 with three patients or more, or images of more patients.",
        )
    table = units.groupby(PATIENT_ID, as_index=False)[[SLIDE_ID]].first()
    target = _balanced(units, places, task, sides)
    if target is not None:
        table[LABEL] = table[PATIENT_ID].map(target)
    # Without a patient the split is told so, and by slide.
    unknown = set(units[PATIENT_ID][units[_UNKNOWN]])
    table[PATIENT_ID] = ["" if name in unknown else name for name in table[PATIENT_ID]]
    return split_patients(
        table if target is None else read_cohort(table, target=LABEL),
        shares=job.shares,
        seed=job.config.fit.seed,
        folds=job.folds,
        patients_unknown=job.patients_unknown,
    )


def _balanced(
    units: pd.DataFrame, places: Sequence[Places], task: Task, sides: int
) -> dict[str, str] | None:
    """Return who has the class of interest, if those who have it and not can be spread."""
    if task.number is None:
        return None
    has = pd.Series([bool(item.class_counts[task.number]) for item in places])
    found = has.groupby(units[PATIENT_ID]).any()
    if min(found.sum(), (~found).sum()) < sides:
        return None
    return {str(name): _WITH if value else _WITHOUT for name, value in found.items()}


def _left_out(pairs: PairSet) -> pd.DataFrame:
    rows = [
        *(("image", name, "no mask") for name in pairs.without_mask),
        *(("mask", name, "no image") for name in pairs.without_image),
    ]
    return pd.DataFrame(rows, columns=["kind", "id", "reason"], dtype=object)


def _size_notes(places: Sequence[Places], crop_px: int) -> list[str]:
    small = sum(min(item.size_px) < crop_px for item in places)
    empty = sum(not item.class_counts.any() for item in places)
    notes = []
    if small:
        notes.append(
            f"{small} of {len(places)} images are smaller than a crop of {crop_px} px: crops are "
            "filled with white that counts nowhere"
        )
    if empty:
        notes.append(f"{empty} images have no labelled pixel and teach nothing")
    return notes


def _require_classes(study: SegmentationStudy, fold: int | None) -> None:
    """Refuse a side without what it is needed for."""
    for name in SPLITS:
        side = study.side(fold, name)
        if not len(side.images):
            raise TableError(
                f"no labelled image lies on the side {name}{_of_fold(fold)}.",
                code="SPLIT_IMPOSSIBLE",
                hint="Give images of more patients, or another split.",
            )
        needed = _needed(study.task, name)
        missing = [study.task.classes[at] for at in needed if not side.class_counts[at]]
        if missing:
            raise TableError(
                f"no pixel of {', '.join(missing)} lies on the side {name}{_of_fold(fold)}.",
                code="CLASS_MISSING",
                hint="Give another --seed, --split or --shares, or images of more patients that "
                "have it.",
            )


def _needed(task: Task, side: str) -> Sequence[int]:
    """Return which classes a side cannot do without."""
    if side == "train":
        return range(len(task.classes))
    # Val without the class of interest could not tell a better network from a worse one.
    return [task.number] if side == "val" and task.number is not None else []


def _of_fold(fold: int | None) -> str:
    return "" if fold is None else f" of fold {fold}"
