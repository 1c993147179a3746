"""The tables of an invented lymph-node cohort, from what is true of its slides."""

from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.cohort.synthetic_nodes import (
    NodeCohortSpec,
    node_slides,
    sample_node_patients,
    time_and_event,
)
from histokeras.files import prepare_folder, write_csv
from histokeras.runs.record import read_object
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID

METASTATIC_MM2 = 0.01
"""Tumour that makes a node metastatic, if it is not isolated tumour cells alone."""
_MACRO_MM, _MICRO_MM = 2.0, 0.2
_STAGES, _FROM = ("pN0", "pN1", "pN2", "pN3a", "pN3b"), (1, 3, 7, 16)


def write_node_slide_tables(folder: Path, spec: NodeCohortSpec) -> None:
    """Write ``slides.csv`` (slide_id, patient_id) and ``pairs.csv`` (image, mask and both ids).

    Args:
        folder: The cohort's folder; made if need be.
        spec: The cohort.

    Raises:
        OutputError: If they cannot be written.
    """
    prepare_folder(folder)
    ids = list(node_slides(spec))
    whose = pd.DataFrame({SLIDE_ID: ids, PATIENT_ID: [name.rpartition("_")[0] for name in ids]})
    write_csv(folder / "slides.csv", whose)
    pairs = {
        "image": [f"slides/{name}.tiff" for name in ids],
        "mask": [f"truth/{name}/nodes.geojson" for name in ids],
    }
    write_csv(folder / "pairs.csv", pd.DataFrame({**pairs, **whose}))


def write_node_truth_tables(folder: Path, spec: NodeCohortSpec) -> None:
    """Write ``nodes_truth.csv``, ``patients_truth.csv`` and ``labels.csv``.

    Nodes bear the columns of ``lymph-nodes``, measured on the truth: fat inside a node belongs to
    it, necrosis is no tumour. ``labels.csv`` has what a clinic knows: label, site, age, sex, T, N,
    time, event; the ratios are in ``patients_truth.csv`` alone.

    Args:
        folder: The cohort's folder, with ``truth/`` complete.
        spec: The cohort.

    Raises:
        OutputError: If they cannot be written.
    """
    nodes = pd.DataFrame([row for name in node_slides(spec) for row in _nodes(folder, name)])
    patients = sample_node_patients(spec)
    truth = pd.DataFrame(
        [_patient(name, nodes[nodes[PATIENT_ID] == name]) for name in patients[PATIENT_ID]]
    )
    time, event = time_and_event(patients, truth["T_MLN_mean"].fillna(0.0))
    labels = patients[[PATIENT_ID, "site", "age", "sex", "T"]].assign(
        N=truth["pN"].str.slice(1, 3), time=time, event=event
    )
    words = np.where(truth["n_mln"] > 0, "metastasis", "no metastasis")
    labels.insert(1, LABEL, words)
    write_csv(folder / "nodes_truth.csv", nodes)
    write_csv(folder / "patients_truth.csv", truth)
    write_csv(folder / "labels.csv", labels)


def _nodes(folder: Path, slide_id: str) -> list[dict[str, Any]]:
    content = read_object(folder / "truth" / slide_id / "truth.json")
    mpp, specs = content["spec"]["mpp"], content["spec"]["nodes"]
    rows = []
    for number, node in enumerate(content["nodes"], start=1):
        x, y = (np.asarray(node["outline"])[:, axis] for axis in (0, 1))
        tumour = float(sum(node["deposits_mm2"]))
        size_class = size_class_of(tumour, node["largest_deposit_mm"])
        rows.append(
            {
                PATIENT_ID: slide_id.rpartition("_")[0],
                SLIDE_ID: slide_id,
                "node_id": number,
                "x": round(x.min()),
                "y": round(y.min()),
                "width": round(x.max() - x.min()),
                "height": round(y.max() - y.min()),
                "centroid_x_mm": node["centroid_px"][0] * mpp / 1e3,
                "centroid_y_mm": node["centroid_px"][1] * mpp / 1e3,
                "node_area_mm2": node["area_mm2"],
                "tumour_area_mm2": tumour,
                "ratio": node["ratio"],
                "n_deposits": len(node["deposits_mm2"]),
                "largest_deposit_mm": node["largest_deposit_mm"],
                "metastatic": tumour >= METASTATIC_MM2 and size_class in ("macro", "micro"),
                "size_class": size_class,
                "hilum_mm2": node["area_mm2"] - node["area_without_hilum_mm2"],
                "tumour_filled_mm2": float(sum(node["deposits_filled_mm2"])),
                "touching": _touches(specs, number - 1),
            }
        )
    return rows


def _touches(specs: list[dict[str, Any]], index: int) -> bool:
    after = index + 1 < len(specs) and specs[index + 1]["touching"]
    return bool(specs[index]["touching"] or after)


def size_class_of(tumour_mm2: float, largest_mm: float) -> str:
    """Return "macro" (from 2 mm), "micro" (from 0.2 mm), "ITC", or "" without tumour."""
    if not tumour_mm2:
        return ""
    if largest_mm >= _MACRO_MM:
        return "macro"
    return "micro" if largest_mm >= _MICRO_MM else "ITC"


def _patient(name: str, nodes: pd.DataFrame) -> dict[str, Any]:
    mln = nodes[nodes["metastatic"]]
    area, tumour = nodes["node_area_mm2"].sum(), nodes["tumour_area_mm2"].sum()
    return {
        PATIENT_ID: name,
        "n_slides": nodes[SLIDE_ID].nunique(),
        "n_nodes": len(nodes),
        "n_mln": len(mln),
        "n_itc": int((nodes["size_class"] == "ITC").sum()),
        "node_area_mm2": area,
        "tumour_area_mm2": tumour,
        # Of no node at all these are empty, not 0.
        "T_MLN_mean": mln["ratio"].mean(),
        "T_MLN_pooled": mln["tumour_area_mm2"].sum() / mln["node_area_mm2"].sum()
        if len(mln)
        else np.nan,
        "T_LN_mean": nodes["ratio"].mean(),
        "T_LN_pooled": tumour / area,
        "pN": _STAGES[bisect_right(_FROM, len(mln))],
    }
