"""Whether a network that predicts a number was needed, in words: the counterpart of ``verdict``."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.bootstrap import ALPHA
from histokeras.analysis.compare import COLOUR, FLOOR, MEAN
from histokeras.analysis.verdict import FLOOR_ITSELF, NO_FLOOR, counted, signed

_CATEGORIES = {"tumour_type": "Tumour type", "site": "The site"}


def number_verdict(
    level_metrics: Mapping[str, Any], *, alpha: float = ALPHA, is_floor: bool = False
) -> dict[str, Any]:
    """Say whether predictions go with the truth, and whether colour and texture do as well.

    Spearman's correlation decides, as the AUC does for classes: it tells ranking, in no unit. A
    network that is not shown to rank at all beats nothing, even where the floor ranks backwards.

    Args:
        level_metrics: The figures of one evaluated level, with ``aggregations`` (the first one
            counts), ``baselines``, ``n``, ``resampled_by``.
        alpha: Share outside the intervals.
        is_floor: Whether the features are colour and texture themselves.

    Returns:
        ``beaten``: True only where the interval of the network's own correlation and that of the
        paired difference both lie above 0; None where it is not known. ``text``: some sentences.
    """
    own = next(iter(level_metrics["aggregations"].values()))
    baselines = level_metrics["baselines"]
    beaten, floor = _floor(own, baselines, level_metrics, alpha, is_floor)
    sentences = [
        _skill(own["spearman"]),
        floor,
        *_others(baselines, beaten),
        _error(own, baselines),
    ]
    return {"beaten": beaten, "text": " ".join(filter(None, sentences))}


def _shown(estimate: Mapping[str, Any]) -> bool:
    """Whether the whole interval lies above 0."""
    return estimate["low"] is not None and estimate["low"] > 0


def _skill(spearman: Mapping[str, Any]) -> str:
    """Return a sentence where no relation is shown."""
    if spearman["value"] is None:
        return f"No relation to the target: {spearman['note']}."
    if spearman["low"] is None or _shown(spearman):
        return ""
    if spearman["high"] < 0:
        return f"The predictions run against the target: Spearman {signed(spearman)}."
    ranks = f"Spearman {signed(spearman)}, an interval that holds 0"
    return f"No relation to the target is shown: {ranks}."


def _floor(
    own: Mapping[str, Any],
    baselines: Mapping[str, Any],
    level_metrics: Mapping[str, Any],
    alpha: float,
    is_floor: bool,
) -> tuple[bool | None, str]:
    if is_floor:
        return None, FLOOR_ITSELF
    if FLOOR not in baselines:
        return None, NO_FLOOR
    network, floor = own["spearman"], baselines[FLOOR]["spearman"]
    difference = baselines[FLOOR]["difference"]["spearman"]
    if network["value"] is None:
        return False, ""
    if floor["value"] is None:
        return None, "Not compared with colour and texture alone, which say one number for all."
    chance = ", which is no better than chance," if floor["value"] <= 0 else ","
    ranks = (
        f"Spearman {network['value']:.3f} against {floor['value']:.3f}{chance} "
        f"difference {signed(difference)}"
    )
    if difference["low"] is None:
        why = difference["note"] or "no interval"
        return None, (
            f"Not known whether the network beats colour and texture alone: {ranks} ({why})."
        )
    ranks += f" ({100 * (1 - alpha):g} % interval, {counted(level_metrics, difference)})"
    beaten = _shown(difference) and _shown(network)
    care = f" Take care: {difference['note']}." if difference["note"] else ""
    return beaten, f"{_claim(difference, beaten)}: {ranks}.{care}"


def _claim(difference: Mapping[str, Any], beaten: bool) -> str:
    if beaten:
        return "The network beats colour and texture alone"
    if difference["high"] < 0:
        return "The network does NOT beat colour and texture alone, it is worse"
    return "The network is not shown to beat colour and texture alone"


def _others(baselines: Mapping[str, Any], beaten: bool | None) -> list[str]:
    """Return what reaches as much without any network, if the network is not shown to beat it."""
    start = "But even six" if beaten else "Even six"
    rivals = {COLOUR: f"{start} colour numbers alone", **{
        name: f"{what} alone, without any picture," for name, what in _CATEGORIES.items()
    }}  # fmt: skip
    return [_as_well(baselines[name], what) for name, what in rivals.items() if name in baselines]


def _as_well(baseline: Mapping[str, Any], what: str) -> str:
    difference = baseline["difference"]["spearman"]
    # Where the baseline itself is not shown to rank, there is nothing to warn of.
    if difference["low"] is None or _shown(difference) or not _shown(baseline["spearman"]):
        return ""
    reach = "may do as well"
    if difference["high"] < 0:
        reach = "do better" if what.endswith("numbers alone") else "does better"
    return (
        f"{what} {reach}: Spearman {baseline['spearman']['value']:.3f}, "
        f"difference {signed(difference)}."
    )


def _error(own: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    """Return the error beside that of saying the mean of the training patients of everyone."""
    if MEAN not in baselines:
        return ""
    mean, difference = baselines[MEAN]["mae"], baselines[MEAN]["difference"]["mae"]
    text = (
        f"On average a prediction is off by {own['mae']['value']:.4g}; saying the mean of the "
        f"training patients of everyone is off by {mean['value']:.4g}"
    )
    if difference["low"] is None:
        return f"{text}."
    if difference["high"] < 0:
        return f"{text}: the network is nearer."
    if difference["low"] > 0:
        return f"{text}: the network is farther off."
    return f"{text}: no difference is shown."
