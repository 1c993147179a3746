"""Figures of lymph nodes as a short table for the terminal."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from histokeras.analysis.bootstrap import FEW_PATIENTS
from histokeras.analysis.text import aligned, plural

_POINTS = "points"
_SHARE = "%"
_ROWS = (
    ("node_dice", "node Dice", ""),
    ("node_iou", "node IoU", ""),
    ("node_area_error", "node area, absolute error", _SHARE),
    ("tumour_dice", "tumour Dice, inside nodes", ""),
    ("tile_auc", "tile AUC, inside true nodes", ""),
    ("T_MLN_mean_error", "T/MLN mean, absolute error", _POINTS),
    ("T_MLN_mean_bias", "T/MLN mean, found - true", _POINTS),
    ("T_MLN_pooled_error", "T/MLN pooled, absolute error", _POINTS),
    ("T_MLN_within_2_points", "T/MLN mean within 2 points", _SHARE),
    ("right_pN", "pN right", _SHARE),
    ("right_n_mln", "number of metastatic nodes right", _SHARE),
    ("right_n_nodes", "number of nodes right", _SHARE),
    ("invented_per_patient", "invented nodes, number", ""),
)
_OF_NODES = (
    ("found", "found at all", _SHARE),
    ("area_within_5_percent", "found, area within 5 %", _SHARE),
    ("metastasis_sensitivity", "metastatic ones called so", _SHARE),
    ("metastasis_specificity", "free ones called so, of those found", _SHARE),
)
_SIGNED = "T_MLN_mean_bias"


def format_node_metrics(metrics: Mapping[str, Any]) -> str:
    """Return the figures as plain text.

    Args:
        metrics: Of :func:`~histokeras.analysis.lymph_truth_figures.evaluate_nodes`, with ``side``,
            ``made_by`` and ``left_out``.

    Returns:
        Lines without a final line feed.
    """
    unit = metrics["resampled_by"]
    resamples = f"{metrics['n_resamples']:,} resamples of {unit}s"
    lines = [
        headline(metrics),
        f"  nodes: {counts_line(metrics)}",
        *aligned(
            [
                (f"mean over {unit}s", "", "n"),
                *patient_rows(metrics),
                ("share of drawn nodes", "", "n"),
                *node_rows(metrics),
            ]
        ),
        f"  [..]: {100 * (1 - metrics['alpha']):g} % intervals, {resamples}",
    ]
    if metrics["has_tumour"]:
        lines += [f"  {metastasis_line(metrics)}", *_stages(metrics["pN"])]
    return "\n".join(lines + [f"  note: {note}" for note in notes_of(metrics)])


def headline(metrics: Mapping[str, Any]) -> str:
    """Return what was compared: side, patients, slides, drawn nodes."""
    of = "" if metrics["side"] == "all" else f"{metrics['side']}: "
    patients = plural(metrics["n_patients"], metrics["resampled_by"])
    slides = (
        "" if metrics["resampled_by"] == "slide" else f", {plural(metrics['n_slides'], 'slide')}"
    )
    return f"{of}{patients}{slides}, {plural(metrics['n_nodes_true'], 'drawn lymph node')}"


def counts_line(metrics: Mapping[str, Any]) -> str:
    """Return what became of the nodes that were drawn, and how many were invented."""
    counts = metrics["counts"]
    told = (
        ("found", "found"),
        ("missed", "missed"),
        ("merged", "run together with another"),
        ("split", "cut up"),
    )
    text = ", ".join(f"{counts[name]} {words}" for name, words in told)
    return f"{text}; {counts['invented']} invented"


def patient_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures of patients: title, figure with interval, number of patients."""
    return _rows(metrics, _ROWS)


def node_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures of drawn nodes: title, figure with interval, number of nodes."""
    return _rows(metrics, _OF_NODES)


def _rows(
    metrics: Mapping[str, Any], rows: tuple[tuple[str, str, str], ...]
) -> list[tuple[str, str, str]]:
    figures = metrics["figures"]
    return [
        (title, _cell(figures[name], kind, sign=name == _SIGNED), f"{figures[name]['n']}")
        for name, title, kind in rows
        if name in figures
    ]


def _cell(estimate: Mapping[str, Any], kind: str, *, sign: bool) -> str:
    if estimate["value"] is None:
        return "-"
    factor, form = (1, ".3f") if not kind else (100, ".1f")
    form = f"+{form}" if sign else form
    value = f"{factor * estimate['value']:{form}}{f' {kind}' if kind else ''}"
    if estimate["low"] is None:
        return f"{value} [no interval]"
    return f"{value} [{factor * estimate['low']:{form}}, {factor * estimate['high']:{form}}]"


def metastasis_line(metrics: Mapping[str, Any]) -> str:
    """Return of how many patients metastasis was drawn, found, or both."""
    found, unit = metrics["metastasis"], metrics["resampled_by"]
    return (
        f"metastasis drawn and found in {plural(found['both'], unit)}, drawn alone in "
        f"{found['true_only']}, found alone in {found['found_only']}, neither in {found['none']}"
    )


def _stages(of: Mapping[str, Any]) -> list[str]:
    """Return the stages that occur as a table: rows the truth, columns what was found."""
    stages, cells = of["stages"], of["confusion"]
    used = [at for at in range(len(stages)) if sum(cells[at]) or sum(row[at] for row in cells)]
    rows = [("drawn \\ found", *(stages[at] for at in used))]
    rows += [(stages[at], *(str(cells[at][other]) for other in used)) for at in used]
    return aligned(rows)


def notes_of(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of the figures, a clause each."""
    titles = {name: title for name, title, _ in (*_ROWS, *_OF_NODES)}
    few = [
        titles[name]
        for name, estimate in metrics["figures"].items()
        if estimate["value"] is not None and estimate["n_behind"] < FEW_PATIENTS
    ]
    notes = []
    if few:
        which = "all figures" if len(few) == len(metrics["figures"]) else "; ".join(few)
        unit = f"{metrics['resampled_by']}s"
        notes.append(f"fewer than {FEW_PATIENTS} {unit} behind {which}: intervals not reliable")
    if not metrics["has_tumour"]:
        notes.append("no tumour is drawn in any file: nothing is told of tumour, T/MLN and pN")
    if metrics["resampled_by"] == "slide":
        notes.append("patients are unknown: slides stand for them, also in T/MLN and pN")
    for what in ("nodes", "tumour"):
        if metrics["made_by"].get(what) == "drawn":
            was = "was" if what == "tumour" else "were"
            notes.append(f"the {what} of this folder {was} drawn, too: one drawing against another")
    reasons = Counter(metrics["left_out"].values())
    notes += [f"left out, {why}: {plural(n, 'slide')}" for why, n in sorted(reasons.items())]
    return notes
