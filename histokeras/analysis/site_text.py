"""What the site probe says, in sentences and as a short table for the terminal."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.text import aligned, cell, plural, wrapped
from histokeras.types import LEVELS

_CHANCE = 0.5
_MEASURES = {"cramers_v": "Cramér's V", "epsilon_squared": "adjusted share of its variance"}


def site_sentences(probe: Mapping[str, Any]) -> list[str]:
    """Return what the probe says to those who read the figures of the label.

    Args:
        probe: ``site_probe`` of metrics.json.
    """
    if not probe.get("computed"):
        return [f"How well the features tell the site was not measured: {probe.get('reason')}."]
    area = probe["auc"]
    figure = f"AUC {_short(area)} (chance {_CHANCE:g})"
    if not site_is_told(probe):
        first = f"That these features tell the site of a patient is not shown: {figure}."
    else:
        first = f"From these features the site of a patient can be told with {figure}"
        first += (
            "."
            if probe.get("preserved")
            else ": the label may be learnt through the site, see --cv with --preserve-site."
        )
    sentences = [first]
    if probe.get("preserved"):
        sentences.append(
            "No site lies in two folds: figures are of sites that training has not seen."
        )
    value = probe["label"]["value"]
    if value is not None:
        name = _MEASURES[probe["label"]["measure"]]
        sentences.append(
            f"How the label itself goes with the site, from 0 (not at all) to 1: {value:.2f} "
            f"({name})."
        )
    return sentences


def site_is_told(probe: Mapping[str, Any]) -> bool:
    """Whether the area lies above chance by twice the lower half of its interval.

    The interval resamples patients and takes the probe as it is. Where there is nothing to tell,
    areas of probes fitted anew stray about 1.6 times as far as it says (simulated).
    """
    value, low = probe["auc"]["value"], probe["auc"]["low"]
    return low is not None and value - _CHANCE > 2 * (value - low)


def patients_text(probe: Mapping[str, Any]) -> str:
    """Return whom the probe used and left out: "40 patients of 4 sites (from the column site)"."""
    source = "the TCGA barcode" if probe["from"] == "barcode" else f"the column {probe['from']}"
    used = f"{plural(probe['n_patients'], 'patient')} of {probe['n_sites']} sites (from {source})"
    lost = []
    if probe["n_small_sites"]:
        few = f"with fewer than {probe['fewest']}"
        small = plural(probe["n_small_sites"], "site")
        lost.append(f"{plural(probe['n_in_small_sites'], 'patient')} of {small} {few}")
    if probe["n_without_site"]:
        lost.append(f"{plural(probe['n_without_site'], 'patient')} without one known site")
    return used + (f"; left out {' and '.join(lost)}" if lost else "")


def figure_rows(probe: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], float]]:
    """Return what each figure of the probe is called, its Estimate and what chance gives."""
    rows = [("AUC, mean over sites", probe["auc"], _CHANCE)]
    if "auc_within_label" in probe:
        rows.append(("AUC among patients of one label", probe["auc_within_label"], _CHANCE))
    rows.append(("Balanced accuracy", probe["balanced_accuracy"], probe["chance"]))
    # Who always says the largest site is right that often.
    rows.append(("Accuracy", probe["accuracy"], probe["largest"]))
    return rows


def label_figure(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return what the AUC of the label is called, and its Estimate on test patients.

    Args:
        metrics: What stands in metrics.json.

    Returns:
        That of patients, else of the highest level that was evaluated; None without one.
    """
    levels = metrics.get("splits", {}).get("test", {})
    for level in reversed(LEVELS):
        aggregations = levels.get(level, {}).get("aggregations") or {}
        for estimate in [figures["auc"] for figures in aggregations.values() if "auc" in figures]:
            return f"For comparison: AUC of the label, test, {level} level", estimate
    return None


def site_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the block of the probe; nothing where no site is known.

    Args:
        metrics: What stands in metrics.json.
    """
    probe = metrics.get("site_probe")
    if not probe:
        return []
    if not probe["computed"]:
        return [f"site probe: {site_sentences(probe)[0]}"]
    rows = [("telling the site", "", "chance")]
    rows += [(title, cell(figure), f"{chance:.3f}") for title, figure, chance in figure_rows(probe)]
    if (label := label_figure(metrics)) is not None:
        rows.append((label[0], cell(label[1]), f"{_CHANCE:.3f}"))
    return [
        f"site probe: {patients_text(probe)}",
        *aligned(rows),
        *wrapped(" ".join(site_sentences(probe))),
    ]


def _short(estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.2f}"
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
