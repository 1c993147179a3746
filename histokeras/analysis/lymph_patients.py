"""From lymph nodes to patients: tumour by metastatic lymph node (T/MLN), and the N stage."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.analysis.lymph_size import ITC, NOT_RESOLVED
from histokeras.tables import require_columns
from histokeras.types import PATIENT_ID, SLIDE_ID

PATIENT_COLUMNS = (
    PATIENT_ID,
    "n_slides",
    "n_nodes",
    "n_mln",
    "n_itc",
    "n_not_resolved",
    "node_area_mm2",
    "tumour_area_mm2",
    "T_MLN_mean",
    "T_MLN_pooled",
    "T_LN_mean",
    "T_LN_pooled",
    "pN",
    "flags",
)
GROUP, HIGH, LOW, NO_METASTASIS = "group", "high", "low", "no metastasis"
LEARNED = "a network learned from this patient"
FLAGS, INCOMPLETE, FLAG_SEPARATOR = "flags", "incomplete", "; "
FEWEST_EXAMINED = 16
"""AJCC 8 asks for so many examined nodes of a stomach."""
_STAGES = ((16, "pN3b"), (7, "pN3a"), (3, "pN2"), (1, "pN1"), (0, "pN0"))
_FAILED = "failed"
_MEASURED = ("node_area_mm2", "tumour_area_mm2", "ratio", "metastatic", "size_class")


def stage_n(n_positive: int) -> str:
    """Return the N stage of a carcinoma of the stomach (AJCC, 8th edition).

    Args:
        n_positive: Number of lymph nodes with metastasis.

    Returns:
        ``pN0`` for 0, ``pN1`` for 1-2, ``pN2`` for 3-6, ``pN3a`` for 7-15, ``pN3b`` from 16.

    Raises:
        ValueError: If the number is negative.
    """
    for least, stage in _STAGES:
        if n_positive >= least:
            return stage
    raise ValueError(f"`n_positive` must be at least 0. Received: n_positive={n_positive}")


def patient_table(
    nodes: pd.DataFrame, slides: pd.DataFrame, rules: NodeRules, cutoff: float | None = None
) -> pd.DataFrame:
    """Add the lymph nodes of each patient up.

    Args:
        nodes: Nodes of all slides as ``measure_nodes`` gives them, with ``patient_id``.
        slides: One row a slide: ``slide_id``, ``patient_id``, ``outcome`` (``failed`` where it
            could not be read); patients without any node stand here.
        rules: What the nodes were measured by.
        cutoff: Patients of a higher ``T_MLN_mean`` are ``high``, 0..1; None for no groups.

    Returns:
        One row a patient of ``slides``, by id, ``PATIENT_COLUMNS``. ``T_MLN_mean`` is the mean
        ratio of the metastatic nodes, ``T_MLN_pooled`` their tumour area by their area, ``T_LN_*``
        the same of all nodes; NaN where there is no such node. ``n_itc`` counts nodes with isolated
        tumour cells alone, whether or not they count as metastatic. ``pN`` is empty where no node
        was found. ``flags`` says what is uncertain. With a cut-off also ``group``: ``high``,
        ``low``, ``no metastasis``, or empty where no node was found.

    Raises:
        TableError: If a column is missing.
        ValueError: If the cut-off is outside 0..1.
    """
    require_columns(slides, (SLIDE_ID, PATIENT_ID, "outcome"), name="slides.csv")
    require_columns(nodes, (PATIENT_ID, *_MEASURED), name="nodes.csv")
    if cutoff is not None and not 0 <= cutoff <= 1:
        raise ValueError(f"`cutoff` is a fraction in [0, 1]. Received: cutoff={cutoff}")
    owner = nodes[PATIENT_ID].astype(str)
    rows = []
    for patient, theirs in slides.groupby(slides[PATIENT_ID].astype(str), sort=True):
        row = {PATIENT_ID: patient} | _patient(nodes[owner == patient], theirs, rules)
        if cutoff is not None:
            row[GROUP] = _group(row, cutoff)
        rows.append(row)
    columns = [*PATIENT_COLUMNS, *([] if cutoff is None else [GROUP])]
    return pd.DataFrame(rows, columns=columns)


def _patient(nodes: pd.DataFrame, slides: pd.DataFrame, rules: NodeRules) -> dict[str, Any]:
    positive = nodes[nodes["metastatic"].to_numpy(np.bool_)]
    sizes = nodes["size_class"]
    n_failed = int((slides["outcome"] == _FAILED).sum())
    row: dict[str, Any] = {
        "n_slides": len(slides),
        "n_nodes": len(nodes),
        "n_mln": len(positive),
        "n_itc": int((sizes == ITC).sum()),
        "n_not_resolved": int((sizes == NOT_RESOLVED).sum()),
        "node_area_mm2": float(nodes["node_area_mm2"].sum()),
        "tumour_area_mm2": float(nodes["tumour_area_mm2"].sum()),
    }
    for name, some in (("T_MLN", positive), ("T_LN", nodes)):
        row[f"{name}_mean"] = float(some["ratio"].mean()) if len(some) else np.nan
        row[f"{name}_pooled"] = _pooled(some)
    row["pN"] = stage_n(len(positive)) if len(nodes) else ""
    row["flags"] = FLAG_SEPARATOR.join(_flags(row, n_failed, rules))
    return row


def _pooled(nodes: pd.DataFrame) -> float:
    area = float(nodes["node_area_mm2"].sum())
    return float(nodes["tumour_area_mm2"].sum()) / area if area else float("nan")


def _flags(row: dict[str, Any], n_failed: int, rules: NodeRules) -> Iterable[str]:
    if n_failed:
        yield f"{INCOMPLETE}: {n_failed} of {row['n_slides']} slide(s) failed"
    if not row["n_nodes"]:
        if n_failed < row["n_slides"]:
            yield "no node found"
        return
    if row["n_nodes"] < FEWEST_EXAMINED:
        yield f"fewer than {FEWEST_EXAMINED} examined"
    if row["n_itc"] and not row["n_mln"]:
        yield "isolated tumour cells only"
    elif row["n_itc"]:
        counted = "" if rules.count_itc else "not "
        yield f"{row['n_itc']} node(s) with isolated tumour cells, {counted}counted"
    if row["n_not_resolved"]:
        yield f"{row['n_not_resolved']} node(s) of unresolved size, counted"


def _group(row: dict[str, Any], cutoff: float) -> str:
    if not row["n_nodes"]:
        return ""
    if not row["n_mln"]:
        return NO_METASTASIS
    return HIGH if row["T_MLN_mean"] > cutoff else LOW
