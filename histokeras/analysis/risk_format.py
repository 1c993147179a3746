"""The figures of predicted risks as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.compare import IMAGE, asked_first
from histokeras.analysis.concordance import C_INDEX
from histokeras.analysis.text import OPTIMISTIC, aligned, cell, plural, wrapped


def risk_block(metrics: Mapping[str, Any], split: str, figures: Mapping[str, Any]) -> list[str]:
    """Return the lines of one side.

    Args:
        metrics: What stands in metrics.json.
        split: Name of the side.
        figures: Its figures at the patient level, evaluated.
    """
    own, groups = figures["aggregations"]["risk"], figures["groups"]
    rows = [
        ("", "risk", "n"),
        ("C-index", cell(own[C_INDEX]), f"{figures['n']:,}"),
        ("hazard ratio of 1 SD", cell(own["hazard_ratio"]), ""),
        ("hazard ratio, high against low", cell(groups["hazard_ratio"]), ""),
    ]
    resamples = f"{metrics['n_resamples']:,} resamples of patients; Wald for hazard ratios"
    notes = [
        OPTIMISTIC.get(split, ""),
        figures["note"],
        *(block["note"] for block in (own[C_INDEX], own["hazard_ratio"], groups)),
    ]
    return [
        f"{split}, patient level: {plural(figures['n'], 'patient')}, "
        f"{plural(figures['n_events'], 'event')}",
        *aligned(rows),
        f"  cut at the training median: {_group(groups, 'high')}, {_group(groups, 'low')}"
        + ("" if groups["p"] is None else f", log-rank p {groups['p']:.2g}"),
        f"  [..]: {100 * (1 - metrics['alpha']):g} % intervals, {resamples}",
        *(f"  note: {note}" for note in dict.fromkeys(notes) if note),
        *_baselines(figures),
    ]


def _group(groups: Mapping[str, Any], name: str) -> str:
    return f"{name} {groups[name]['n']:,} ({plural(groups[name]['n_events'], 'event')})"


def _baselines(figures: Mapping[str, Any]) -> list[str]:
    baselines = figures["baselines"]
    rows = [("simple baseline", "C-index", "this run minus it")]
    for name in asked_first(baselines):
        block = baselines[name]
        difference = block["difference"][C_INDEX]
        rows.append((block["title"], cell(block[C_INDEX]), cell(difference)))
    taken = figures.get("clinical_columns")
    seen = ", which the head learned from too" if IMAGE in baselines else ""
    told = [f"clinical columns: {', '.join(taken)}{seen}"] if taken else []
    text = [line for part in (*told, figures["verdict"]["text"]) for line in wrapped(part)]
    return [*aligned(rows), *text]
