"""``composition`` as a whole: predictions of tiles to tables, figures and the record."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.aggregate import N_TILES
from histokeras.analysis.composition import Composition, compose, summary
from histokeras.analysis.composition_correct import Correction, read_correction, tile_accuracy
from histokeras.analysis.composition_figures import (
    ALPHA,
    BLOCKS,
    N_BLOCKS,
    CompositionConfig,
    require_possible,
)
from histokeras.analysis.composition_input import TileReader, open_reader
from histokeras.cohort.pseudonyms import require_renamed
from histokeras.errors import ConfigError, FeatureError
from histokeras.files import prepare_folder, remove, sha256_file, write_csv, write_json
from histokeras.runs.gallery import head_digests
from histokeras.runs.record import RunRecord, require_own_folder
from histokeras.runs.same import require_same_inputs
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import SPLIT

COMMAND = "composition"
OUTPUTS = ("composition.json", "slides.csv", "patients.csv", "dropped.csv", "report.html")
"""What the folder holds beside run.json; the page is drawn afterwards."""
FEW_BLOCKS = 10
"""An interval of fewer blocks is not reliable."""
_BALANCED_LABELS, _BALANCED_TILES = 2, 10


@dataclass(frozen=True, kw_only=True)
class CompositionJob:
    """What is composed.

    Attributes:
        folders: Runs, or folders of ``predict``, of one classifier.
        slide_patients: slide_id to patient_id, beside what the folders know.
        slides_only: Make no patient table; patients may be unknown.
        correct: A run whose errors in tiles correct the shares; None for no correction.
        pseudonyms: By which the predictions must go; None where nothing is asked for.
        config: How.
    """

    folders: Sequence[Path]
    slide_patients: Mapping[str, str] = field(default_factory=dict)
    slides_only: bool = False
    correct: Path | None = None
    pseudonyms: Pseudonyms | None = None
    config: CompositionConfig = field(default_factory=CompositionConfig)


@dataclass(frozen=True, eq=False)
class Composed:
    """A composition and what is said of it.

    Attributes:
        composition: The tables.
        metrics: What stands in composition.json.
    """

    composition: Composition
    metrics: dict[str, Any]


def composition(
    predictions: str | Path | Sequence[str | Path],
    *,
    slide_patients: Mapping[str, str] | None = None,
    level: str = "patient",
    correct: str | Path | None = None,
    config: CompositionConfig | None = None,
) -> pd.DataFrame:
    """Return the share of each class in patients or slides, with intervals.

    Args:
        predictions: A run, or what ``predict -o`` was given, or several of them.
        slide_patients: slide_id to patient_id, where the folders do not know.
        level: ``patient`` or ``slide``.
        correct: A run whose errors in tiles correct the shares.
        config: How; the defaults if None.

    Returns:
        One row a patient (or slide): ids, ``split``, ``n_tiles``, ``share_<class>``,
        ``soft_<class>`` and what follows from them, each with ``_low`` and ``_high``.

    Raises:
        ConfigError: If ``level`` or the options cannot be.
        TableError: If a table is damaged or a patient unknown (PATIENT_UNKNOWN).
    """
    if level not in ("patient", "slide"):
        raise ConfigError(f"`level` must be patient or slide. Received: level={level!r}")
    given = [predictions] if isinstance(predictions, (str, Path)) else predictions
    job = CompositionJob(
        folders=[Path(item) for item in given],
        slide_patients=slide_patients or {},
        slides_only=level == "slide",
        correct=None if correct is None else Path(correct),
        config=config or CompositionConfig(),
    )
    found = _composed(job, *_opened(job)).composition
    return found.patients if level == "patient" else found.slides


def run_composition(
    job: CompositionJob,
    folder: Path,
    *,
    options: Mapping[str, Any],
    command_line: str = "",
    overwrite: bool = False,
) -> Composed | None:
    """Compute a composition into a folder.

    Args:
        job: What.
        folder: The output folder.
        options: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether another composition may be replaced.

    Returns:
        What was found; None if this very composition stands there already, finished.

    Raises:
        ConfigError: If options cannot be, or something else stands there.
        FeatureError: If another composition stands there (CONFIG_MISMATCH).
        TableError: If a table is damaged, or a patient unknown (PATIENT_UNKNOWN).
        LeakageError: If a patient lies on two sides.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, (COMMAND,), OUTPUTS)
    reader, correction = _opened(job)
    inputs = {
        "predictions": reader.digest(),
        "correct": "" if job.correct is None else sha256_file(job.correct / "metrics.json"),
        "slides only": job.slides_only,
        "options": job.config.as_dict(),
    }
    if not overwrite:
        finished = require_same_inputs(folder, inputs)
        tables = ("composition.json", "slides.csv", "dropped.csv")
        if finished and all((folder / name).is_file() for name in tables):
            return None
    # Before anything is written: tables that do not fit leave no folder behind.
    result = _composed(job, reader, correction)
    prepare_folder(folder)
    remove(folder, OUTPUTS)
    record = RunRecord(COMMAND, options, command_line=command_line)
    record.facts = {"inputs": inputs, "heads": head_digests(job.folders[0])}
    record.write(folder, status="running")
    _write(folder, job, result)
    record.write(folder, status="done")
    return result


def _opened(job: CompositionJob) -> tuple[TileReader, Correction | None]:
    """Open what is read and refuse what cannot be, before any tile is read."""
    reader = open_reader(
        job.folders, slide_patients=job.slide_patients, slides_only=job.slides_only
    )
    require_possible(reader.classes, job.config)
    if job.pseudonyms is not None and not reader.of_slides:
        raise ConfigError("`--pseudonyms` is for slides: ready-made tiles keep their names.")
    for source in reader.sources:
        if job.pseudonyms is not None and source.saved.slides is not None:
            require_renamed(source.saved.slides.fillna(""), job.pseudonyms)
    if job.config.interval == BLOCKS and not reader.of_slides:
        raise ConfigError(
            "these are ready-made tiles, whose places on a slide are unknown: there are no blocks "
            "to resample.",
            hint="Take `--interval wilson` (tiles as independent: too narrow) or "
            "`--interval none`.",
        )
    if job.correct is None:
        return reader, None
    correction = read_correction(job.correct, reader.classes)
    heads = [head_digests(folder) for folder in (job.correct, job.folders[0])]
    if all(heads) and heads[0] != heads[1]:
        raise FeatureError(
            f"{job.correct} is not the run that made these predictions: it errs otherwise.",
            code="CONFIG_MISMATCH",
            hint="Correct with the run that predicted.",
        )
    return reader, correction


def _composed(job: CompositionJob, reader: TileReader, correction: Correction | None) -> Composed:
    blocks = job.config.block_tiles if job.config.interval == BLOCKS else None
    slides = reader.read(block_tiles=blocks)
    found = compose(slides, reader.classes, job.config, correction)
    dropped = found.dropped
    if job.slides_only:
        found = replace(found, patients=pd.DataFrame())
        dropped = dropped[dropped["kind"] == "slide"]
    elif reader.normal:
        rows = [("slide", name, why) for name, why in sorted(reader.normal.items())]
        normal = pd.DataFrame(rows, columns=dropped.columns, dtype=object)
        dropped = pd.concat([dropped, normal], ignore_index=True) if len(dropped) else normal
    found = replace(found, dropped=dropped)
    return Composed(found, _metrics(job, reader, correction, found))


def _metrics(
    job: CompositionJob, reader: TileReader, correction: Correction | None, found: Composition
) -> dict[str, Any]:
    main = found.slides if job.slides_only else found.patients
    sides = Counter(main[SPLIT].astype(str) if len(main) else ())
    units = {"all": main} | {side: main[main[SPLIT] == side] for side in sorted(sides)}
    own = [tile_accuracy(folder) for folder in job.folders]
    if job.correct is not None:
        own.append(tile_accuracy(job.correct))
    levels = {source.saved.level for source in reader.sources}
    return {
        "unit": "slide" if job.slides_only else "patient",
        "classes": list(found.classes),
        "excluded": list(job.config.exclude),
        "pool": job.config.pool,
        "interval": job.config.interval,
        "alpha": ALPHA,
        "n_resamples": job.config.n_resamples if job.config.interval == BLOCKS else 0,
        "block_tiles": job.config.block_tiles,
        "min_tiles": job.config.min_tiles,
        "seed": job.config.seed,
        "n_slides": len(found.slides),
        "n_patients": len(found.patients),
        "n_tiles": int((found.slides if len(found.slides) else main)[N_TILES].sum()),
        "n_without_figures": int((main[N_TILES] < job.config.min_tiles).sum()) if len(main) else 0,
        "n_few_blocks": int((main[N_BLOCKS] < FEW_BLOCKS).sum()) if N_BLOCKS in main else 0,
        "sides": {side or "new": n for side, n in sorted(sides.items())},
        "cut_from_slides": reader.of_slides,
        "class_balanced": _is_balanced(reader),
        "tile_accuracy": next((value for value in own if value is not None), None),
        "label_levels": sorted(levels - {""}),
        "correction": None if correction is None else correction.as_json(),
        "summary": {side or "new": summary(table, found.figures) for side, table in units.items()},
    }


def _is_balanced(reader: TileReader) -> bool:
    """Tell whether ready-made tiles bear every label equally often: nobody's tissue is like that.

    A side of a stratified split may have one tile more of some.
    """
    counts = list(reader.labels.values())
    if len(counts) < _BALANCED_LABELS or min(counts) < _BALANCED_TILES:
        return False
    return max(counts) - min(counts) <= 1


def _write(folder: Path, job: CompositionJob, result: Composed) -> None:
    found = result.composition
    write_csv(folder / "slides.csv", found.slides)
    if not job.slides_only:
        write_csv(folder / "patients.csv", found.patients)
    write_csv(folder / "dropped.csv", found.dropped)
    write_json(folder / "composition.json", result.metrics)
