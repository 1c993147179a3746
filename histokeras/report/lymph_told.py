"""What lymph nodes say, in words that claim no more than they do, and their warnings."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from histokeras.analysis.lymph_patients import FEWEST_EXAMINED
from histokeras.analysis.lymph_size import LEAST_CELLS, MACRO_MM, MICRO_MM, MOST_CELL_UM
from histokeras.report.caution import Caution
from histokeras.report.lymph_files import LymphFiles
from histokeras.report.lymph_numbers import area_text, share_text
from histokeras.report.tables import Table
from histokeras.report.text import at, is_number, listed, plural
from histokeras.types import PATIENT_ID, SLIDE_ID

T_MLN = (
    "T/MLN is the share of the area of metastatic lymph nodes that is tumour: for each metastatic "
    "node its tumour area by its whole area, and of a patient the mean of his or her metastatic "
    "nodes. Pooled, it is the tumour area of all metastatic nodes by their whole area, so that "
    "large nodes count for more. A patient without a metastatic node has no T/MLN, which is not "
    "the same as 0."
)
"""What the figure is, for a reader who meets it for the first time."""
UNKNOWN_STAGE = "pNX"


def headline(run: LymphFiles) -> str:
    """Return the one line of the page: patients with metastases and their median T/MLN."""
    patients, nodes = run.patients, run.nodes
    if patients.empty:
        n = int(nodes["metastatic"].sum())
        return f"{plural(len(nodes), 'lymph node')}, {n:,} of them metastatic; no patient is known."
    positive = patients[patients["n_mln"] > 0]
    said = f"{len(positive):,} of {plural(len(patients), 'patient')} with metastatic lymph nodes"
    if positive.empty:
        return f"{said}."
    middle = share_text(float(positive["T_MLN_mean"].median()))
    if len(positive) == 1:
        return f"{said}: T/MLN {middle} %."
    low, high = (share_text(float(positive["T_MLN_mean"].quantile(q))) for q in (0.25, 0.75))
    return f"{said}: T/MLN {middle} % in the median (quartiles {low} % to {high} %)."


def sentences(run: LymphFiles) -> list[str]:
    """Return what stands below the headline: how much was seen, and what T/MLN is."""
    nodes, slides = run.nodes, run.slides
    read = slides[slides["outcome"] == "done"]
    n = int(nodes["metastatic"].sum())
    area = area_text(float(nodes["node_area_mm2"].sum()))
    said = (
        f"{plural(len(nodes), 'lymph node')} of together {area} mm² on {plural(len(read), 'slide')}"
        f", {n:,} of them metastatic."
    )
    return [said, T_MLN]


def stage_text(row: Mapping[str, Any]) -> str:
    """Return the N stage of a patient, ``pNX`` where no node was found."""
    return str(row["pN"]) or UNKNOWN_STAGE


def cautions(run: LymphFiles) -> list[Caution]:
    """Return the warnings, the gravest first."""
    found = [_incomplete(run), _without_nodes(run), _few_examined(run), _unresolved(run)]
    return [caution for caution in found if caution is not None]


def _incomplete(run: LymphFiles) -> Caution | None:
    missing = run.slides[run.slides["outcome"].isin(["failed", "not done"])]
    if missing.empty:
        return None
    patients = sorted(set(missing[PATIENT_ID]) - {""})
    of = f" of {listed(patients)}" if patients else ""
    return Caution(
        "incomplete",
        f"{plural(len(missing), 'slide')} could not be measured",
        f"Nodes on slides{of} are missing: counts, pN and T/MLN of these patients are of the other "
        "slides alone. A missing metastatic node makes pN too low.",
        "See failures.csv, mend or replace these slides, and give the same command again.",
    )


def _without_nodes(run: LymphFiles) -> Caution | None:
    patients = run.patients[run.patients["n_nodes"] == 0][PATIENT_ID].tolist()
    if not patients:
        return None
    return Caution(
        "no-node",
        f"no lymph node was found in {plural(len(patients), 'patient')}",
        f"{listed(patients)}: nothing was examined, so that the N stage is not known "
        f"({UNKNOWN_STAGE}), which is not pN0.",
        "Look at the pictures of the slides: either they show no node, or nodes were missed.",
    )


def _few_examined(run: LymphFiles) -> Caution | None:
    some = run.patients[run.patients["n_nodes"].between(1, FEWEST_EXAMINED - 1)]
    if some.empty:
        return None
    return Caution(
        "few-examined",
        f"fewer than {FEWEST_EXAMINED} nodes examined in {plural(len(some), 'patient')}",
        f"AJCC (8th edition) asks for at least {FEWEST_EXAMINED} examined nodes of a stomach: with "
        "fewer, pN may be too low. What counts here are nodes on these slides, not all that were "
        "taken out; and a node that was cut onto two slides counts twice.",
        "Read pN with the number of examined nodes beside it.",
    )


def _unresolved(run: LymphFiles) -> Caution | None:
    n = int((run.nodes["size_class"] == "not resolved").sum())
    if not n:
        return None
    return Caution(
        "not-resolved",
        f"the size of metastases was not resolved in {plural(n, 'node')}",
        f"Below {MACRO_MM:g} mm tumour was read too coarsely to tell micrometastases from isolated "
        "tumour cells. These nodes count as metastatic by their tumour area alone.",
        "Look at them under the microscope, or read them again with a smaller --itc-stride.",
    )


def rules_table(settings: Mapping[str, Any]) -> Table:
    """Return what counts as a node, as tumour and as metastatic, in words.

    Args:
        settings: ``settings`` of run.json.
    """
    rows = [
        ["Lymph node", _node_rule(settings)],
        ["Hole in a node", _node_hole_rule(settings)],
        ["Tumour", _tumour_rule(settings)],
        ["Hole in tumour", _hole_rule(at(settings, "tumour_holes"), "the tumour")],
        ["Metastatic node", _metastatic_rule(settings)],
        ["Classes", _class_rule()],
        ["pN", "AJCC, 8th edition, stomach, by the number of metastatic nodes: 0 pN0, 1 to 2 pN1, "
               "3 to 6 pN2, 7 to 15 pN3a, 16 or more pN3b."],
    ]  # fmt: skip
    return Table("What counts", ("What", "Rule"), rows, css="words prose")


def _node_rule(settings: Mapping[str, Any]) -> str:
    drawn = at(settings, "nodes") == "drawn"
    found = "Drawn by hand" if drawn else "Found by a segmentation network"
    said = f"{found}, at {_plain(settings, 'overview_mpp')} µm per pixel; from "
    said += f"{_plain(settings, 'min_node_mm2')} mm², smaller pieces are no nodes."
    if drawn:
        return f"{said} Each drawn area is a node."
    if at(settings, "split_touching"):
        return f"{said} Touching nodes are parted at their neck."
    return f"{said} Touching nodes count as one."


def _node_hole_rule(settings: Mapping[str, Any]) -> str:
    if at(settings, "nodes") == "drawn":
        return "As it was drawn."
    return _hole_rule(at(settings, "node_holes"), "the node")


def _hole_rule(policy: Any, what: str) -> str:
    if policy == "fill":
        return f"Filled: its area belongs to {what}."
    return f"Kept: its area does not belong to {what}."


def _tumour_rule(settings: Mapping[str, Any]) -> str:
    inside = "Inside nodes only: tumour in fat or vessels outside does not count."
    if at(settings, "tumour") == "drawn":
        return f"Drawn by hand. {inside}"
    side = at(settings, "tile_px"), at(settings, "tile_mpp")
    um = f"{side[0] * side[1]:g} µm" if all(map(is_number, side)) else "unknown size"
    said = (
        f"Probability of {at(settings, 'tile_class')} above {_plain(settings, 'threshold')}; tiles "
        f"of {um} every {_plain(settings, 'stride_um')} µm, averaged where they overlap."
    )
    seen = side[0] * side[1] / settings["stride_um"] if all(map(is_number, side)) else 1.0
    if seen < 1:
        said += f" {1 - seen**2:.0%} of a node is never seen at this stride.".replace("%", " %")
    again = at(settings, "itc_stride_um")
    if again:
        said += f" Nodes with little tumour were read again every {again:g} µm."
    return f"{said} {inside}"


def _metastatic_rule(settings: Mapping[str, Any]) -> str:
    itc = (
        "Nodes with isolated tumour cells alone count too."
        if at(settings, "count_itc")
        else "Nodes with isolated tumour cells alone do not count, neither for pN nor for T/MLN."
    )
    return f"From {_plain(settings, 'min_tumour_mm2')} mm² of tumour; less is not believed. {itc}"


def _class_rule() -> str:
    return (
        f"By the greatest dimension of the largest deposit: macro from {MACRO_MM:g} mm, micro from "
        f"{MICRO_MM:g} mm, ITC (isolated tumour cells) below. Below {MACRO_MM:g} mm the size is "
        f"not resolved where tumour was read in steps of more than {MOST_CELL_UM:g} µm, or a "
        f"deposit of {MICRO_MM:g} mm is smaller than {LEAST_CELLS} of them."
    )


def _plain(settings: Mapping[str, Any], key: str) -> str:
    value = at(settings, key)
    return f"{value:g}" if is_number(value) else "an unknown number of"


def cutoff_text(run: LymphFiles) -> str:
    """Return where groups are cut, "" without a cut-off."""
    cutoff = run.record.get("cutoff")
    if not is_number(cutoff):
        return ""
    return (
        f"Groups: high is a T/MLN (mean) above {share_text(cutoff)} %, low is up to it; the "
        "cut-off was given."
    )


def uncertainties(run: LymphFiles, row: Mapping[str, Any]) -> list[str]:
    """Return what is uncertain of a patient, a sentence each.

    Args:
        run: The folder.
        row: The patient's row of patients.csv.
    """
    slides = run.slides_of(str(row[PATIENT_ID]))
    missing = slides[slides["outcome"].isin(["failed", "not done"])][SLIDE_ID].tolist()
    said = []
    if missing:
        said.append(
            f"{plural(len(missing), 'slide')} could not be measured ({listed(missing)}): the "
            "figures are of the others, and pN may be too low."
        )
    said += _of_nodes(run, row)
    dropped = slides["n_dropped"].sum() if len(slides) else 0
    if dropped:
        least = _plain(run.settings, "min_node_mm2")
        said.append(f"{plural(int(dropped), 'piece')} below {least} mm² did not count as nodes.")
    return said


def _of_nodes(run: LymphFiles, row: Mapping[str, Any]) -> list[str]:
    if not row["n_nodes"]:
        return [f"No lymph node was found: the N stage is not known ({UNKNOWN_STAGE})."]
    said = []
    if row["n_nodes"] < FEWEST_EXAMINED:
        said.append(
            f"Fewer than {FEWEST_EXAMINED} nodes were examined on these slides: pN may be too low."
        )
    if row["n_itc"]:
        counted = "counted" if at(run.settings, "count_itc") else "not counted"
        n = plural(int(row["n_itc"]), "node")
        said.append(f"Isolated tumour cells alone in {n}, {counted} as metastatic.")
    if row["n_not_resolved"]:
        n = plural(int(row["n_not_resolved"]), "node")
        said.append(
            f"The size of the metastasis is not resolved in {n}: isolated tumour cells are "
            "counted as metastases there, if that is what they are."
        )
    return said


def failed_table(run: LymphFiles) -> Table | None:
    """Return the slides that failed, and why."""
    table = run.failures
    if table.empty or not {"slide", "code", "message"} <= set(table.columns):
        return None
    rows = table[["slide", "code", "message"]].to_numpy().tolist()
    return Table("Slides that failed", ("Slide", "Code", "What is wrong"), rows, css="words")


def stages_table(patients: pd.DataFrame) -> Table | None:
    """Return how many patients have each N stage."""
    if patients.empty:
        return None
    stages = patients["pN"].replace("", UNKNOWN_STAGE)
    counts = stages.value_counts()
    order = ("pN0", "pN1", "pN2", "pN3a", "pN3b", UNKNOWN_STAGE)
    rows = [[name, *_stage_row(patients, stages, name)] for name in order if name in counts]
    return Table("N stages", ("pN", "Patients", "T/MLN in the median"), rows)


def _stage_row(patients: pd.DataFrame, stages: pd.Series, name: str) -> list[str]:
    some = patients[stages == name]
    middle = share_text(float(some["T_MLN_mean"].median()))
    return [f"{len(some):,}", f"{middle} %" if some["T_MLN_mean"].notna().any() else middle]
