"""``evaluate`` of lymph nodes as a whole: a folder and drawn truth to tables and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.bootstrap import N_RESAMPLES
from histokeras.analysis.lymph_drawn import DrawnClasses, DrawnSlide, draw_truth
from histokeras.analysis.lymph_folder import LymphFolder, open_lymph_folder
from histokeras.analysis.lymph_nodes import counted_tumour
from histokeras.analysis.lymph_truth import SlideComparison, compare_slide
from histokeras.analysis.lymph_truth_figures import evaluate_nodes
from histokeras.analysis.lymph_truth_tables import patient_truth_table, slide_truth_table
from histokeras.cohort.split_file import read_split
from histokeras.errors import ConfigError, FeatureError, TableError
from histokeras.files import prepare_folder, remove, write_csv, write_json
from histokeras.runs.record import RunRecord, read_record, require_own_folder
from histokeras.slides.annotations import Region, read_regions, require_on_slide
from histokeras.slides.drawn_files import DrawnFiles
from histokeras.slides.node_classes import drawn_node_classes, drawn_tumour_classes
from histokeras.types import PATIENT_ID, SLIDE_ID, SPLIT

OUTPUTS = ("metrics.json", "slides.csv", "nodes.csv", "patients.csv", "report.html")
"""What the folder holds beside run.json; the page is drawn afterwards."""
_EVALUATE = "evaluate"
_DONE, _EMPTY = "done", "empty"
_NO_FILE = "no drawn truth"
_ANY = ".tiff"
"""Whatever the slide's own extension was: ids may hold dots."""


@dataclass(frozen=True, kw_only=True)
class TruthJob:
    """What is compared with what.

    Attributes:
        folder: An output folder of ``lymph-nodes``.
        truth: Folder of drawn regions, a file a slide.
        node_class: As which class nodes are drawn; None for the usual names.
        tumour_class: Likewise of tumour.
        split: A split file; None for all patients.
        side: Which side of it.
        n_resamples: Resamples behind every interval, at least 1.
        seed: Seed of the draws.
        originals: Pseudonym -> id of slides and patients, where the truth goes by ids.
    """

    folder: Path
    truth: Path
    node_class: str | None = None
    tumour_class: str | None = None
    split: Path | None = None
    side: str = "test"
    n_resamples: int = N_RESAMPLES
    seed: int = 0
    originals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TruthFound:
    """What came of it.

    Attributes:
        metrics: What stands in metrics.json.
        slides: One row a slide that was compared.
        nodes: One row a true node, or a found one that is none.
        patients: One row a patient.
        unused: Files of the truth that belong to no slide of the folder, by their names.
    """

    metrics: dict[str, Any]
    slides: pd.DataFrame
    nodes: pd.DataFrame
    patients: pd.DataFrame
    unused: tuple[str, ...]


def compare_with_truth(job: TruthJob) -> TruthFound:
    """Compare what ``lymph-nodes`` found with what was drawn.

    Args:
        job: What with what.

    Raises:
        FeatureError: If the folder is not of ``lymph-nodes``, or not finished.
        SlideError: If there is no file of regions, or one cannot be read.
        TableError: If a table is damaged, patients are known in part, or no slide has truth.
        ConfigError: If nothing tells as which class nodes or tumour were drawn.
    """
    opened = open_lymph_folder(job.folder)
    slides, unit = _with_patients(opened.slides)
    drawn = DrawnFiles.of(job.truth)
    paths = _files_of(job, drawn, slides)
    left_out = _left_out(job, slides, paths)
    kept = slides[~slides[SLIDE_ID].isin(list(left_out))].reset_index(drop=True)
    unused = _unused(drawn, paths)
    if kept.empty:
        raise _nothing(job, left_out, unused)
    files = {name: path for name in kept[SLIDE_ID] if (path := paths[name])}
    regions = {name: read_regions(path) for name, path in files.items()}
    classes = _classes(job, regions)
    compared, true_nodes, areas = _compared(opened, kept, regions, classes, files)
    owner = dict(zip(kept[SLIDE_ID], kept[PATIENT_ID], strict=True))
    found = opened.nodes[opened.nodes[SLIDE_ID].isin(owner)]
    patients = patient_truth_table(
        kept,
        compared,
        _owned(true_nodes, owner),
        found.assign(**{PATIENT_ID: found[SLIDE_ID].map(owner)}),
        opened.rules,
    )
    nodes = _owned({name: one.nodes for name, one in compared.items()}, owner)
    metrics = evaluate_nodes(patients, nodes, unit=unit, n_resamples=job.n_resamples, seed=job.seed)
    metrics["side"] = job.side if job.split is not None else "all"
    metrics["drawn"] = {"node": list(classes.node), "tumour": list(classes.tumour)}
    metrics["made_by"] = {what: opened.settings.get(what, "") for what in ("nodes", "tumour")}
    metrics["left_out"] = left_out
    return TruthFound(metrics, slide_truth_table(kept, compared, areas), nodes, patients, unused)


def _with_patients(slides: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the slides and what is resampled: each stands for itself if patients are unknown."""
    known = slides[PATIENT_ID] != ""
    if known.all():
        return slides, "patient"
    if known.any():
        raise TableError(
            f"slides.csv tells the patient of {int(known.sum())} of {len(known)} slides only.",
            hint="Give lymph-nodes a --slide-table that names all.",
        )
    return slides.assign(**{PATIENT_ID: slides[SLIDE_ID]}), "slide"


def _files_of(job: TruthJob, drawn: DrawnFiles, slides: pd.DataFrame) -> dict[str, Path | None]:
    """Return the file of each slide, also of one that bears its patient's name before its own."""
    ids = job.originals
    patients = {str(name): ids.get(name, name) for name in slides[PATIENT_ID]}
    found = {}
    for slide_id, patient_id in zip(slides[SLIDE_ID], slides[PATIENT_ID], strict=True):
        patient, name = patients[patient_id], ids.get(slide_id, slide_id)
        own = Path(patient) / f"{name.removeprefix(f'{patient}_')}{_ANY}"
        found[slide_id] = drawn.find(own, name, others=patients.values())
    return found


def _left_out(
    job: TruthJob, slides: pd.DataFrame, paths: Mapping[str, Path | None]
) -> dict[str, str]:
    """Return slide_id -> why it is not compared."""
    sides = None
    if job.split is not None:
        table = read_split(job.split).table
        if not {PATIENT_ID, SPLIT} <= set(table):
            raise TableError(f"{job.split} does not put patients on sides.")
        sides = dict(zip(table[PATIENT_ID].astype(str), table[SPLIT].astype(str), strict=True))
    left_out = {}
    for slide in slides.to_dict("records"):
        why = ""
        side = None if sides is None else sides.get(slide[PATIENT_ID], "")
        if side is not None and side != job.side:
            why = f"{side} side of the split" if side else "patient not in the split"
        elif slide["outcome"] not in (_DONE, _EMPTY):
            why = f"lymph-nodes: {slide['outcome']}"
        elif paths[slide[SLIDE_ID]] is None:
            why = _NO_FILE
        if why:
            left_out[slide[SLIDE_ID]] = why
    return left_out


def _unused(drawn: DrawnFiles, paths: Mapping[str, Path | None]) -> tuple[str, ...]:
    files = {path for some in drawn.found.values() for path in some}
    used = {path for path in paths.values() if path is not None}
    return tuple(sorted(path.relative_to(drawn.folder).as_posix() for path in files - used))


def _nothing(job: TruthJob, left_out: Mapping[str, str], unused: tuple[str, ...]) -> TableError:
    reasons = ", ".join(sorted(set(left_out.values()))) or "the folder holds no slide"
    return TableError(
        f"no slide of {job.folder} can be compared with {job.truth}: {reasons}.",
        hint=f"A file is called as its slide, such as {next(iter(left_out), 'S1')}.geojson"
        + (f"; there is {unused[0]}." if unused else "."),
    )


def _classes(job: TruthJob, regions: Mapping[str, tuple[Region, ...]]) -> DrawnClasses:
    labels = {region.label for some in regions.values() for region in some if not region.erases}
    node = drawn_node_classes(labels, wanted=job.node_class)
    if labels and not node:
        raise ConfigError(
            f"no lymph node is drawn in {job.truth}: there are {', '.join(sorted(labels))}.",
            hint="Draw nodes as class `Lymph node`, or name theirs with --node-class.",
        )
    tumour = drawn_tumour_classes(labels - set(node), wanted=job.tumour_class)
    return DrawnClasses(node, tumour)


def _compared(
    opened: LymphFolder,
    slides: pd.DataFrame,
    regions: Mapping[str, tuple[Region, ...]],
    classes: DrawnClasses,
    files: Mapping[str, Path],
) -> tuple[dict[str, SlideComparison], dict[str, pd.DataFrame], dict[str, float]]:
    """Return the comparison of each slide, its true nodes, and the area of a pixel in mm2."""
    compared, true_nodes, areas = {}, {}, {}
    for slide in slides.to_dict("records"):
        name = slide[SLIDE_ID]
        corners = [ring.max(axis=0) for region in regions[name] for ring in region.polygon]
        x, y = np.max(corners, axis=0) if corners else (0.0, 0.0)
        shape, scale, mpp = opened.geometry(slide, (float(x), float(y)))
        require_on_slide(regions[name], (shape[1] * scale, shape[0] * scale), files[name])
        true = draw_truth(regions[name], classes, shape, scale=scale, mpp=mpp, rules=opened.rules)
        compared[name] = _slide(opened, slide, true, scale)
        true_nodes[name] = true.nodes
        areas[name] = mpp**2 / 1e6
    return compared, true_nodes, areas


def _slide(
    opened: LymphFolder, slide: Mapping[Any, Any], true: DrawnSlide, scale: float
) -> SlideComparison:
    name = slide[SLIDE_ID]
    nodes = opened.nodes[opened.nodes[SLIDE_ID] == name]
    if slide["outcome"] == _EMPTY:
        # No tissue was found: whatever was drawn there is missed.
        labels = np.zeros(true.labels.shape, np.int32)
        tumour = labels > 0
    else:
        labels = opened.labels(name)
        tumour = opened.tumour(name)
    if labels.shape != true.labels.shape or tumour.shape != labels.shape:
        raise FeatureError(
            f"{name}: its maps are not of the size that slides.csv tells.",
            code="MAP_UNREADABLE",
            hint="Give the same lymph-nodes command again with --overwrite.",
        )
    if int(labels.max(initial=0)) != len(nodes):
        raise FeatureError(
            f"{name}: its map has {int(labels.max(initial=0))} nodes, nodes.csv {len(nodes)}.",
            code="MAP_UNREADABLE",
            hint="Give the same lymph-nodes command again with --overwrite.",
        )
    tumour = counted_tumour(labels, tumour, opened.rules)
    return compare_slide(true, labels, tumour, nodes, opened.tiles(name), scale=scale)


def _owned(tables: Mapping[str, pd.DataFrame], owner: Mapping[str, str]) -> pd.DataFrame:
    """Put the nodes of all slides into one table, ids first."""
    parts = []
    for name, table in tables.items():
        part = table.copy()
        part.insert(0, PATIENT_ID, owner[name])
        part.insert(0, SLIDE_ID, name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def write_truth(
    folder: Path, job: TruthJob, found: TruthFound, *, config: Mapping[str, Any], command_line: str
) -> None:
    """Write metrics.json, the tables and the record.

    Args:
        folder: The output folder.
        job: What was compared.
        found: Of :func:`compare_with_truth`.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.

    Raises:
        ConfigError: If something else stands there.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, (_EVALUATE,), OUTPUTS)
    prepare_folder(folder)
    remove(folder, OUTPUTS)
    record = RunRecord(_EVALUATE, config, command_line=command_line)
    known = read_record(job.folder)
    record.facts = {
        "task": found.metrics["task"],
        "settings": known.get("settings", {}),
        "predictions": {
            "command": known.get("command", ""),
            "command_line": known.get("command_line", ""),
        },
    }
    record.write(folder, status="running")
    for name, table in (
        ("slides.csv", found.slides),
        ("nodes.csv", found.nodes),
        ("patients.csv", found.patients),
    ):
        write_csv(folder / name, table)
    write_json(folder / "metrics.json", found.metrics)
    record.write(folder, status="done")
