"""Slides and patients of ``lymph-nodes`` against the truth, one row each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.analysis.lymph_patients import patient_table
from histokeras.analysis.lymph_truth import SlideComparison, overlap, tile_auc
from histokeras.analysis.metrics import divide
from histokeras.types import PATIENT_ID, SLIDE_ID

OUTCOMES = ("n_found", "n_missed", "n_merged", "n_split", "n_invented")
RATIOS = ("T_MLN_mean", "T_MLN_pooled")
_PX = tuple(f"{what}_px{of}" for what in ("node", "tumour") for of in ("_true", "", "_both"))
_OF_PATIENT = ("n_nodes", "n_mln", "node_area_mm2", "tumour_area_mm2", *RATIOS, "pN")
NOT_STAGED = "pNX"
"""What an empty stage is called where stages are counted: no node was found, or drawn."""


def slide_truth_table(
    slides: pd.DataFrame, compared: Mapping[str, SlideComparison], areas_mm2: Mapping[str, float]
) -> pd.DataFrame:
    """Return slides.csv.

    Args:
        slides: ``slide_id patient_id outcome`` of the slides that were compared.
        compared: slide_id -> comparison.
        areas_mm2: slide_id -> area of a pixel of its overview.

    Returns:
        One row a slide: ids, ``outcome``, ``n_nodes_true``, ``n_nodes``, ``OUTCOMES``,
        ``node_dice``, ``node_iou``, ``node_area_mm2_true``, ``node_area_mm2``; where tumour was
        drawn ``tumour_dice``, ``tumour_area_mm2_true``, ``tumour_area_mm2``; where tiles were read
        ``tile_auc``, ``n_tiles``, ``n_tumour_tiles`` (those inside true nodes).
    """
    rows = []
    for slide in slides.to_dict("records"):
        one = compared[slide[SLIDE_ID]]
        n_true = int((one.nodes["true_node"] > 0).sum())
        row = {name: slide[name] for name in (SLIDE_ID, PATIENT_ID, "outcome")}
        row |= {"n_nodes_true": n_true, "n_nodes": int((one.nodes["node_id"] > 0).sum())}
        row |= {name: one.row[name] for name in OUTCOMES}
        rows.append(row | _areas(one.row, areas_mm2[slide[SLIDE_ID]]) | _tiles([one]))
    return pd.DataFrame(rows)


def _areas(px: Mapping[str, int], px_mm2: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for what in ("node", "tumour"):
        if f"{what}_px" in px:
            true, said, both = (np.array(px[f"{what}_px{of}"]) for of in ("_true", "", "_both"))
            dice, iou = overlap(true, said, both)
            found |= {f"{what}_dice": float(dice), f"{what}_iou": float(iou)}
            found[f"{what}_area_mm2_true"] = float(true) * px_mm2
            found[f"{what}_area_mm2"] = float(said) * px_mm2
    return found


def _tiles(compared: Sequence[SlideComparison]) -> dict[str, float]:
    sides = [one.positive for one in compared if one.positive is not None]
    if not sides:
        return {}
    positive = np.concatenate(sides)
    scores = np.concatenate([one.scores for one in compared if one.positive is not None])
    return {
        "tile_auc": tile_auc(positive, scores),
        "n_tiles": len(positive),
        "n_tumour_tiles": int(positive.sum()),
    }


def patient_truth_table(
    slides: pd.DataFrame,
    compared: Mapping[str, SlideComparison],
    true_nodes: pd.DataFrame,
    nodes: pd.DataFrame,
    rules: NodeRules,
) -> pd.DataFrame:
    """Return patients.csv: what is true of each patient, what was found, and how they differ.

    Both sides are of the slides that were compared, no others.

    Args:
        slides: ``slide_id patient_id outcome`` of the slides that were compared.
        compared: slide_id -> comparison.
        true_nodes: Nodes that were drawn, as ``measure_nodes`` gives them, with ids.
        nodes: Those found, likewise.
        rules: What counted.

    Returns:
        One row a patient: ``n_slides``, ``OUTCOMES``, ``node_dice``, ``node_iou`` (all pixels of a
        patient together), ``node_area_error`` (found by true, less 1), ``right_n_nodes``; where
        tumour was drawn also ``tumour_dice``, ``T_MLN_mean_error`` and ``T_MLN_pooled_error``
        (found - true, as fractions; NaN unless both sides have a metastatic node), ``right_n_mln``,
        ``right_pN`` and the tiles' columns; and both sides' figures, the true ones with ``_true``.
    """
    has_tumour = all("tumour_px" in one.row for one in compared.values())
    said = patient_table(nodes, slides, rules)
    true = patient_table(true_nodes, slides, rules)
    rows = []
    for at, patient in enumerate(said[PATIENT_ID]):
        theirs = slides.loc[slides[PATIENT_ID].astype(str) == patient, SLIDE_ID]
        some = [compared[slide_id] for slide_id in theirs]
        row: dict[str, Any] = {PATIENT_ID: patient, "n_slides": len(some)}
        row |= _sums([one.row for one in some], OUTCOMES)
        row |= _dices(_sums([one.row for one in some], _PX))
        row |= _tiles(some)
        for name in _OF_PATIENT if has_tumour else ("n_nodes", "node_area_mm2"):
            row |= {f"{name}_true": true.loc[at, name], name: said.loc[at, name]}
        rows.append(row | {"flags": said.loc[at, "flags"] if has_tumour else ""})
    return _with_errors(pd.DataFrame(rows), has_tumour)


def _sums(rows: Sequence[Mapping[str, int]], names: Sequence[str]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in names if name in rows[0]}


def _dices(px: Mapping[str, int]) -> dict[str, float]:
    found = _areas(px, 1.0)
    return {name: value for name, value in found.items() if name.endswith(("_dice", "_iou"))}


def _with_errors(table: pd.DataFrame, has_tumour: bool) -> pd.DataFrame:
    area, true = table["node_area_mm2"].to_numpy(float), table["node_area_mm2_true"].to_numpy(float)
    table["node_area_error"] = divide(area, true) - 1
    table["right_n_nodes"] = table["n_nodes"] == table["n_nodes_true"]
    if has_tumour:
        for name in RATIOS:
            table[f"{name}_error"] = table[name] - table[f"{name}_true"]
        table["right_n_mln"] = table["n_mln"] == table["n_mln_true"]
        table["right_pN"] = table["pN"] == table["pN_true"]
    return table
