"""The page of one patient of ``lymph-nodes``: the pictures, every node, and how figures follow."""

import base64
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.report.html import MAX_BYTES
from histokeras.report.lymph_files import LymphFiles, records
from histokeras.report.lymph_numbers import (
    KINDS,
    area_text,
    class_text,
    length_text,
    share_text,
)
from histokeras.report.lymph_told import (
    T_MLN,
    cutoff_text,
    rules_table,
    stage_text,
    uncertainties,
)
from histokeras.report.page_files import started
from histokeras.report.pictures import Picture, shrunk_jpeg
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, is_number, plural
from histokeras.types import PATIENT_ID, SLIDE_ID

_SIDES_PX = (1600, 1100, 800)
"""Pictures are shrunk to the first of these at which all fit into the page."""
_MARGIN_BYTES = 600_000
_MOST_TERMS = 6
_MOST_ROWS = 500


@dataclass(frozen=True)
class SlidePicture:
    """The picture of a slide on a patient's page.

    Attributes:
        slide_id: The slide.
        picture: As it stands on the page; None where there is none, or it found no place.
        link: Where the whole picture lies, seen from the page; "" where there is none.
        says: Caption.
    """

    slide_id: str
    picture: Picture | None
    link: str
    says: str


def patient_content(
    run: LymphFiles, row: Mapping[str, Any], *, back: str, linked: bool
) -> dict[str, Any]:
    """Return what the page of a patient shows.

    Args:
        run: The folder.
        row: The patient's row of patients.csv.
        back: Where the page of all patients lies, quoted, seen from this one.
        linked: Whether that page lies in the folder, so that pictures can be linked.
    """
    patient = str(row[PATIENT_ID])
    nodes = run.nodes_of(patient)
    return {
        "title": patient,
        "subtitle": " · ".join(
            filter(None, ["Lymph nodes", plural(row["n_slides"], "slide"), started(run.record)])
        ),
        "back": back,
        "headline": _headline(row),
        "figures": _figures(row),
        "explained": T_MLN,
        "reckoned": _reckoned(nodes, row),
        "group": _group(run, row),
        "uncertain": uncertainties(run, row),
        "legend": _legend(run),
        "pictures": slide_pictures(run, patient, linked=linked),
        "nodes": _nodes_table(nodes),
        "kinds": _kinds_table(nodes),
        "rules": rules_table(run.settings),
    }


def _headline(row: Mapping[str, Any]) -> str:
    if not row["n_nodes"]:
        return f"{stage_text(row)}: no lymph node was found."
    said = f"{stage_text(row)}: {row['n_mln']:,} of {plural(row['n_nodes'], 'lymph node')} "
    said += "metastatic"
    return f"{said}, T/MLN {share_text(row['T_MLN_mean'])} %." if row["n_mln"] else f"{said}."


def _figures(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, figure and remark of each number that stands out."""
    return [
        ("pN", stage_text(row), "AJCC, 8th edition"),
        ("Metastatic nodes", f"{row['n_mln']:,}", f"of {row['n_nodes']:,} examined"),
        ("T/MLN, mean", _per_cent(row["T_MLN_mean"]), "of the metastatic nodes' shares"),
        ("T/MLN, pooled", _per_cent(row["T_MLN_pooled"]), "all their tumour by all their area"),
        ("T/LN, pooled", _per_cent(row["T_LN_pooled"]), "the same of all nodes"),
        ("Tumour in nodes, mm²", area_text(row["tumour_area_mm2"]),
         f"of {area_text(row['node_area_mm2'])} mm² of node"),
    ]  # fmt: skip


def _per_cent(share: Any) -> str:
    return f"{share_text(share)} %" if is_number(share) else DASH


def _reckoned(nodes: pd.DataFrame, row: Mapping[str, Any]) -> list[str]:
    """Return how T/MLN follows from the table, so that a reader can reckon it again."""
    positive = nodes[nodes["metastatic"]]
    if positive.empty:
        return ["No node is metastatic: there is no T/MLN, which is not the same as 0."]
    n = len(positive)
    shares = [share_text(share) for share in positive["ratio"]]
    tumour = area_text(float(positive["tumour_area_mm2"].sum()))
    area = area_text(float(positive["node_area_mm2"].sum()))
    terms = f"({' + '.join(shares)}) / {n}" if 1 < n <= _MOST_TERMS else ""
    mean = f"mean of {n:,} shares" if n > 1 else "the share of the one metastatic node"
    return [
        f"T/MLN (mean): {' = '.join(filter(None, [mean, terms]))} = "
        f"{share_text(row['T_MLN_mean'])} %.",
        f"T/MLN (pooled): {tumour} mm² / {area} mm² = {share_text(row['T_MLN_pooled'])} %.",
    ]


def _group(run: LymphFiles, row: Mapping[str, Any]) -> str:
    text = cutoff_text(run)
    if not text or "group" not in row:
        return ""
    return f"Group: {row['group'] or 'not known'}. {text}"


def slide_pictures(run: LymphFiles, patient: str, *, linked: bool) -> list[SlidePicture]:
    """Return the picture of each slide of a patient, so large that all fit into a page.

    Args:
        run: The folder.
        patient: The patient.
        linked: Whether whole pictures can be linked.
    """
    rows = {str(row[SLIDE_ID]): row for row in records(run.slides_of(patient))}
    slides = list(rows)
    # An older picture of a slide that failed since shows what does not hold any more.
    paths = {
        slide: run.picture(slide) if row["outcome"] == "done" else None
        for slide, row in rows.items()
    }
    room = MAX_BYTES - _MARGIN_BYTES
    found: dict[str, Picture | None] = {}
    for side_px in _SIDES_PX:
        found = {slide: _picture(slide, paths[slide], side_px) for slide in slides}
        if sum(picture.n_bytes for picture in found.values() if picture is not None) <= room:
            break
    shown = []
    for slide in slides:
        picture = found[slide]
        if picture is not None and picture.n_bytes > room:
            picture = None
        room -= picture.n_bytes if picture is not None else 0
        path = paths[slide]
        link = "" if path is None or not linked else f"../{urllib.parse.quote(path.name)}"
        shown.append(SlidePicture(slide, picture, link, _says(rows[slide])))
    return shown


def _picture(slide: str, path: Path | None, side_px: int) -> Picture | None:
    encoded = None if path is None else shrunk_jpeg(path, side_px)
    if encoded is None:
        return None
    data, (width, height) = encoded
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    alt = f"Slide {slide}: outlines of its lymph nodes, tumour inside them, and their table"
    return Picture(source, alt, (), width, height)


def _legend(run: LymphFiles) -> str:
    drawn = run.settings.get("tumour") == "drawn"
    inside = "the tumour that was drawn" if drawn else "the probability of tumour"
    return (
        "First the slide with the outlines of its nodes: orange where there is tumour, the number "
        "filled where the node is metastatic, blue where no tumour was found. Then the same in "
        f"grey, with {inside} inside the nodes and a black line around what counts as tumour."
    )


def _says(row: Mapping[str, Any]) -> str:
    if row["outcome"] == "done":
        found = plural(row["n_nodes"], "lymph node")
        said = f"{found}, {row['n_metastatic']:,} metastatic"
        share = row.get("share_not_read")
        if is_number(share):
            said += f"; {share_text(share)} % of the slide's tiles lie in no node and were not read"
        return f"{said}."
    words = {"empty": "no tissue was found on it.", "failed": "it could not be measured."}
    return words.get(str(row["outcome"]), "it has not been measured yet.")


def _nodes_table(nodes: pd.DataFrame) -> Table | None:
    if nodes.empty:
        return None
    known = bool(nodes["max_prob"].notna().any())
    rows = [_node_row(row, known=known) for row in records(nodes.head(_MOST_ROWS))]
    notes = ["Numbers of nodes are those of the pictures."]
    if len(nodes) > _MOST_ROWS:
        notes.append(f"The first {_MOST_ROWS} of {len(nodes):,}: all stand in nodes.csv.")
    head = ("Slide", "Node", "Area mm²", "Tumour mm²", "Tumour %", "Deposits", "Largest mm",
            "Class", "Metastatic", *(["Highest probability"] if known else []))  # fmt: skip
    return Table("Every lymph node", head, rows, notes)


def _node_row(row: Mapping[str, Any], *, known: bool) -> list[str | Cell]:
    share, prob = row["ratio"], row["max_prob"]
    return [
        str(row[SLIDE_ID]), str(row["node_id"]), area_text(row["node_area_mm2"]),
        area_text(row["tumour_area_mm2"]),
        Cell(share_text(share), bar=float(share)) if is_number(share) else DASH,
        f"{row['n_deposits']:,}", length_text(row["largest_deposit_mm"]), class_text(row),
        "yes" if row["metastatic"] else "no",
        *([f"{prob:.2f}" if is_number(prob) else DASH] if known else []),
    ]  # fmt: skip


def _kinds_table(nodes: pd.DataFrame) -> Table | None:
    """Return how many nodes hold which kind of tumour."""
    some = nodes[nodes["tumour_area_mm2"] > 0]
    if some.empty:
        return None
    counts = some["size_class"].replace("", "too little").value_counts()
    rows = [
        [KINDS.get(str(name), "less tumour than is believed"), f"{int(n):,}"]
        for name, n in counts.items()
    ]
    return Table("Nodes with tumour", ("Largest deposit", "Nodes"), rows)
