"""A finished folder of ``lymph-nodes``, written without reading a slide."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from histokeras.analysis.lymph_nodes import NODE_COLUMNS, NodeRules
from histokeras.analysis.lymph_patients import patient_table
from histokeras.files import prepare_folder, safe_name, write_bytes, write_csv, write_json

Node = tuple[float, float, str]
"""Area of the node and of tumour in it, mm2; class of the largest deposit."""


def write_folder(
    folder: Path,
    patients: Mapping[str, Sequence[tuple[str, Sequence[Node] | None]]],
    *,
    rules: NodeRules | None = None,
    cutoff: float | None = None,
    **settings: Any,
) -> Path:
    """Write the folder.

    Args:
        folder: Where to.
        patients: Patient -> slides, each with its nodes; None for a slide that failed.
        rules: What the nodes count by.
        cutoff: Of the groups.
        settings: Others than those of drawn nodes and tumour.
    """
    rules = rules or NodeRules()
    slides, nodes = [], []
    for patient, theirs in patients.items():
        for slide, found in theirs:
            ids = {"slide_id": slide, "patient_id": patient}
            rows = [ids | _node(i, node, rules) for i, node in enumerate(found or (), start=1)]
            nodes += rows
            n = sum(bool(row["metastatic"]) for row in rows)
            counts = {"n_nodes": len(rows), "n_metastatic": n, "n_dropped": 1}
            read = {"share_not_read": 0.75}
            outcome = {"outcome": "failed"} if found is None else {"outcome": "done", **counts}
            slides.append(ids | outcome | ({} if found is None else read))
            if found is not None:
                prepare_folder(folder)
                write_bytes(folder / f"{safe_name(slide)}.jpg", _picture())
    table = pd.DataFrame(slides).astype(
        dict.fromkeys(("n_nodes", "n_metastatic", "n_dropped"), "Int64")
    )
    all_nodes = pd.DataFrame(nodes, columns=["slide_id", "patient_id", *NODE_COLUMNS])
    write_csv(folder / "slides.csv", table)
    write_csv(folder / "nodes.csv", all_nodes.astype({"metastatic": bool}))
    if set(patients) != {""}:
        write_csv(folder / "patients.csv", patient_table(all_nodes, table, rules, cutoff))
    known = {"nodes": "drawn", "overview_mpp": 10.0, "tumour": "drawn", **asdict(rules)}
    failed = [row["slide_id"] for row in slides if row["outcome"] == "failed"]
    columns = ["slide", "stage", "code", "message", "hint"]
    rows_failed = [[slide, "open", "SLIDE_DAMAGED", "it is damaged", "mend it"] for slide in failed]
    write_csv(folder / "failures.csv", pd.DataFrame(rows_failed, columns=columns))
    write_json(folder / "run.json", {
        "command": "lymph-nodes", "status": "done with failures" if failed else "done",
        "started": "2026-03-01T14:05:00+00:00", "config": {"cutoff": cutoff},
        "settings": known | settings, "cutoff": cutoff, "slides": [],
    })  # fmt: skip
    return folder


def _node(number: int, node: Node, rules: NodeRules) -> dict[str, Any]:
    area, tumour, size = node
    counted = size not in ("", "ITC") or (size == "ITC" and rules.count_itc)
    return {
        "node_id": number, "x": 0, "y": 0, "width": 9, "height": 9, "centroid_x_mm": 1.0,
        "centroid_y_mm": 1.0, "node_area_mm2": area, "tumour_area_mm2": tumour,
        "ratio": tumour / area, "n_deposits": int(tumour > 0), "largest_deposit_mm": tumour,
        "n_tiles": 4, "max_prob": np.nan, "metastatic": counted, "size_class": size,
        "stride_um": 64.0,
    }  # fmt: skip


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 150, 190)).save(buffer, "JPEG")
    return buffer.getvalue()
