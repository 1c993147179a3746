"""Read tile predictions for a composition, slide by slide: whose they are, and where tiles lie."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.analysis.aggregate import score_matrix, text_column
from histokeras.analysis.composition_figures import SlideCounts, count_tiles
from histokeras.analysis.saved import Saved, open_saved, prediction_files
from histokeras.analysis.tile_predictions import BOX, predictions_path
from histokeras.cohort.ids import canonical_patient, slide_stem, tile_key
from histokeras.cohort.patients import PatientFinder
from histokeras.cohort.split_file import read_split
from histokeras.cohort.split_table import CLEAN
from histokeras.cohort.tcga import normal_tissue
from histokeras.errors import ConfigError, TableError
from histokeras.files import sha256_file, sha256_text
from histokeras.runs.gallery import head_digests
from histokeras.tables import read_own, require_columns
from histokeras.types import (
    ATTENTION,
    CLASSIFICATION,
    LABEL,
    PATIENT_ID,
    PROB,
    SLIDE_ID,
    SPLIT,
    TILE,
)

_IDS = (SLIDE_ID, PATIENT_ID, SPLIT)
_OFF_ONE = 0.01


@dataclass(frozen=True, eq=False)
class Source:
    """One folder of predictions.

    Attributes:
        saved: What lies there.
        seen: Side of each patient, slide or tile in the training of the run, by ``key``; of
            predictions alone.
        key: Column that ``seen`` is keyed by.
    """

    saved: Saved
    seen: Mapping[str, str] = field(default_factory=dict)
    key: str = PATIENT_ID

    @property
    def of_slides(self) -> bool:
        """Whether the tiles are cut from slides, whose places are known."""
        return self.saved.slides is not None


@dataclass
class TileReader:
    """Reads the tiles of several folders.

    Attributes:
        sources: The folders.
        slide_patients: slide_id to patient_id, beside what the folders know.
        slides_only: Patients may be unknown.
        labels: Of ready-made tiles, how many bear each label; counted while reading.
        normal: Slides of normal tissue, with the reason why they count for no patient.
    """

    sources: Sequence[Source]
    slide_patients: Mapping[str, str] = field(default_factory=dict)
    slides_only: bool = False
    labels: Counter[str] = field(default_factory=Counter)
    normal: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all folders."""
        return self.sources[0].saved.classes

    @property
    def of_slides(self) -> bool:
        """Whether the place of every tile on its slide is known."""
        return all(source.of_slides for source in self.sources)

    def digest(self) -> str:
        """Return the SHA-256 of all that is read: tables of tiles, ids and sides."""
        parts = [f"{name}={patient}" for name, patient in sorted(self.slide_patients.items())]
        for source in self.sources:
            slides = source.saved.slides
            parts += [path.name + sha256_file(path) for path in _files(source)]
            parts += [] if slides is None else [slides.to_csv(index=False)]
            parts += [f"{name}:{side}" for name, side in sorted(source.seen.items())]
        return sha256_text("\n".join(parts))

    def read(self, *, block_tiles: int | None) -> Iterator[SlideCounts]:
        """Yield every slide, or part of one; one table is held at a time.

        Args:
            block_tiles: Side in tiles of the blocks that tiles are summed over; None for all of a
                slide as one.

        Raises:
            TableError: If a table is damaged, a patient unknown (PATIENT_UNKNOWN), or a slide
                stands in two folders (SLIDE_TWICE).
        """
        taken: set[str] = set()
        for source in self.sources:
            finder = self._finder(source)
            if source.saved.slides is None:
                for path in prediction_files(source.saved.folder):
                    yield from self._ready_made(source, path, finder)
                continue
            slides = source.saved.slides
            splits = text_column(slides, SPLIT)
            for slide_id, split in zip(text_column(slides, SLIDE_ID), splits, strict=True):
                if slide_id in taken:
                    raise TableError(
                        f"slide `{slide_id}` stands in two folders of predictions.",
                        code="SLIDE_TWICE",
                        hint="Give each slide once.",
                    )
                taken.add(slide_id)
                yield self._slide(source, slide_id, split, finder, block_tiles)

    def _finder(self, source: Source) -> PatientFinder:
        slides = source.saved.slides
        if slides is None or PATIENT_ID not in slides:
            return PatientFinder([], self.slide_patients)
        known = pd.DataFrame({
            SLIDE_ID: [slide_stem(str(name)) for name in slides[SLIDE_ID]],
            PATIENT_ID: [canonical_patient(name) for name in text_column(slides, PATIENT_ID)],
        })  # fmt: skip
        return PatientFinder([known], self.slide_patients)

    def _slide(
        self,
        source: Source,
        slide_id: str,
        split: str,
        finder: PatientFinder,
        block_tiles: int | None,
    ) -> SlideCounts:
        path = predictions_path(source.saved.folder, slide_id)
        if not path.is_file():
            raise TableError(
                f"slides.csv names {slide_id!r}, but {path.name} is missing.",
                code="PREDICTIONS_MISSING",
                hint="Predict anew.",
            )
        patient = self._patient(finder.of_slide(slide_stem(slide_id)), f"slide `{slide_id}`")
        split = split or _seen(source, patient, slide_id)
        table = _read(path)
        probs = _probs(table, self.classes, path)
        if block_tiles is None:
            sums = count_tiles(probs, None)
        else:
            sums = count_tiles(probs, _places(table, path), block_tiles)
        return SlideCounts(slide_id, patient, split, sums, self._is_tumours(slide_id))

    def _ready_made(
        self, source: Source, path: Path, finder: PatientFinder
    ) -> Iterator[SlideCounts]:
        table = _read(path)
        require_columns(table, (TILE,), name=f"predictions {path}")
        if source.saved.level == "tile":
            self.labels.update(name for name in text_column(table, LABEL) if name)
        probs = _probs(table, self.classes, path)
        ids = pd.DataFrame({name: text_column(table, name) for name in (TILE, *_IDS)}, dtype=object)
        for key, part in ids.groupby(list(_IDS), sort=True):
            slide_id, told, split = (str(name) for name in key)
            first = str(part[TILE].iloc[0])
            patient = told or finder.of_tile(tile_key(first), slide_stem(slide_id))
            patient = self._patient(patient, f"tile `{first}`")
            if self.slides_only and not slide_id:
                raise TableError(
                    f"the slide of {len(part)} tile(s) is unknown, first `{first}`: without "
                    "patients and slides there is nothing to pool.",
                    code="SLIDE_UNKNOWN",
                    hint="Give the tiles a slide_id in the tile table, and predict anew.",
                )
            side = split or _seen(source, patient, slide_id)
            pooled = self._is_tumours(slide_id) if slide_id else True
            sums = count_tiles(probs[part.index.to_numpy()], None)
            yield SlideCounts(slide_id, patient, side, sums, pooled)

    def _patient(self, patient: str, what: str) -> str:
        if not patient and not self.slides_only:
            raise TableError(
                f"the patient of {what} is unknown, and none is invented.",
                code="PATIENT_UNKNOWN",
                hint="Give `--slide-table` with slide_id,patient_id; or take slides alone with "
                "`--slides-only`.",
            )
        return patient

    def _is_tumours(self, slide_id: str) -> bool:
        """Tell whether a slide counts for its patient; note why where it does not."""
        if not normal_tissue(slide_id):
            return True
        self.normal[slide_id] = "normal tissue: it counts for no patient"
        return False


def open_reader(
    folders: Sequence[Path], *, slide_patients: Mapping[str, str], slides_only: bool = False
) -> TileReader:
    """Open folders of predictions by one classifier.

    Args:
        folders: Runs, or what ``predict -o`` was given; at least one.
        slide_patients: slide_id to patient_id, beside what the folders know.
        slides_only: Accept slides whose patient is unknown.

    Raises:
        ConfigError: If they predict a number, or are of several classifiers.
        TableError: If there are none, or tiles bear what their bag got (PREDICTIONS_OF_BAGS).
        FeatureError: If the command that writes them has not finished.
    """
    sources = [_open(folder) for folder in folders]
    first = sources[0].saved
    for source in sources[1:]:
        saved = source.saved
        heads = [head_digests(folder) for folder in (first.folder, saved.folder)]
        if saved.classes != first.classes or (all(heads) and heads[0] != heads[1]):
            raise ConfigError(
                f"{saved.folder} and {first.folder} are of two classifiers: their shares cannot "
                "stand in one table.",
                code="CLASS_MISMATCH",
                hint="Predict all slides with one run.",
            )
    return TileReader(sources, slide_patients, slides_only)


def _open(folder: Path) -> Source:
    saved = open_saved(folder)
    if saved.task != CLASSIFICATION:
        raise ConfigError(
            f"{folder} predicts a number, {saved.classes[0]}: a composition is of classes."
        )
    if ATTENTION in _columns(prediction_files(folder)[0]):
        raise TableError(
            f"{folder} is of a head of bags: every tile bears what its whole bag got, so that "
            "shares of tiles mean nothing.",
            code="PREDICTIONS_OF_BAGS",
            hint="Predict with a classifier of tiles.",
        )
    path = folder / "split.csv"
    if saved.is_run or not path.is_file():
        return Source(saved)
    split = read_split(path)
    # With cross-validation every patient was in the training data of some of the heads.
    ids = split.table[split.unit]
    seen = dict.fromkeys(map(str, ids), "train") if split.folds else split.sides()
    return Source(saved, seen, split.unit)


def _seen(source: Source, patient: str, slide_id: str) -> str:
    """Return the side on which the run that predicted saw this patient or slide; "" for new."""
    name = {PATIENT_ID: patient, SLIDE_ID: slide_id}.get(source.key, "")
    return source.seen.get(CLEAN[source.key](name), "") if name else ""


def _files(source: Source) -> list[Path]:
    if source.saved.slides is None:
        return prediction_files(source.saved.folder)
    names = source.saved.slides[SLIDE_ID].astype(str)
    paths = [predictions_path(source.saved.folder, name) for name in names]
    return [path for path in paths if path.is_file()]


def _columns(path: Path) -> list[str]:
    return [str(name) for name in read_own(path, nrows=0).columns]


def _read(path: Path) -> pd.DataFrame:
    names = {*BOX, *_IDS, TILE, LABEL}
    try:
        return read_own(
            path,
            usecols=lambda name: name in names or name.startswith((PROB, f"'{PROB}")),
            dtype=dict.fromkeys((*_IDS, TILE, LABEL), str),
            keep_default_na=False,
        )
    except (OSError, ValueError) as error:
        raise TableError(
            f"predictions {path} cannot be read: {str(error)[:200]}.", hint="Predict anew."
        ) from error


def _probs(table: pd.DataFrame, classes: Sequence[str], path: Path) -> npt.NDArray[np.float32]:
    probs = score_matrix(table, classes, name=f"predictions {path}").astype(np.float32)
    off = np.abs(probs.sum(axis=1) - 1) > _OFF_ONE
    if off.any():
        row = int(off.argmax())
        raise TableError(
            f"predictions {path}, row {row + 1}: the probabilities of the classes make "
            f"{probs[row].sum():.3g}, not 1.",
            code="PROBABILITY_INVALID",
            hint="Predict this slide again.",
        )
    return probs


def _places(table: pd.DataFrame, path: Path) -> npt.NDArray[np.int64]:
    """Return column and row of each tile on the grid of its slide."""
    require_columns(table, BOX, name=f"predictions {path}")
    boxes = table[list(BOX)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1))
    if wrong.any():
        raise TableError(
            f"predictions {path}, row {int(wrong.argmax()) + 1}: a place or size of a tile is no "
            "number of pixels.",
            code="PREDICTIONS_UNFIT",
            hint="Predict this slide again; or take `--interval wilson`, which needs no places.",
        )
    return np.asarray(np.floor(boxes[:, :2] / boxes[:, 2:]), np.int64)
