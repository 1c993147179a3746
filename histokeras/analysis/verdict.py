"""Whether the network was needed, in a sentence for a pathologist."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.bootstrap import ALPHA
from histokeras.analysis.compare import COLOUR, FLOOR

_CATEGORIES = {"tumour_type": "Tumour type", "site": "The site"}
FLOOR_ITSELF = (
    "These features are colour and texture themselves: what a network would have to beat, and no "
    "network."
)
CHANCE = 0.5
"""AUC of one who knows nothing."""
NO_FLOOR = "No floor baseline: these features carry no colour-and-texture vector."


def floor_verdict(
    level_metrics: Mapping[str, Any], *, alpha: float = ALPHA, is_floor: bool = False
) -> dict[str, Any]:
    """Say whether the network beat colour and texture without a network.

    Args:
        level_metrics: The figures of one evaluated level, with ``aggregations`` (the first one
            counts), ``baselines``, ``n``, ``level`` or ``resampled_by``.
        alpha: Share outside the intervals.
        is_floor: Whether the features are colour and texture themselves.

    Returns:
        ``beaten``: True only where the whole interval of the paired difference in AUC lies above
        0; None where it is not known. ``text``: one to three sentences.
    """
    own = next(iter(level_metrics["aggregations"].values()))["auc"]
    if is_floor:
        return {"beaten": None, "text": " ".join(filter(None, (FLOOR_ITSELF, _chance(own))))}
    baselines = level_metrics["baselines"]
    if FLOOR not in baselines:
        return {"beaten": None, "text": " ".join(filter(None, (NO_FLOOR, _chance(own))))}
    network = own["value"]
    floor, difference = baselines[FLOOR]["auc"], baselines[FLOOR]["difference"]["auc"]
    if network is None or floor["value"] is None:
        return {
            "beaten": None,
            "text": "Not compared with colour and texture alone: the AUC needs two classes.",
        }
    areas = f"AUC {network:.3f} against {floor['value']:.3f}, difference {signed(difference)}"
    if difference["low"] is None:
        return {
            "beaten": None,
            "text": f"Not known whether the network beats colour and texture alone: {areas} "
            f"({difference['note'] or 'no interval'}).",
        }
    areas += f" ({100 * (1 - alpha):g} % interval, {counted(level_metrics, difference)})"
    beaten = difference["low"] > 0
    sentences = [f"{_claim(difference)}: {areas}{'' if beaten else _needless(difference)}."]
    sentences.append(_chance(own))
    if COLOUR in baselines:
        sentences.append(_colour(baselines[COLOUR], beaten))
    sentences += [_category(baselines[name], what) for name, what in _CATEGORIES.items()
                  if name in baselines]  # fmt: skip
    if difference["note"]:
        sentences.append(f"Take care: {difference['note']}.")
    return {"beaten": beaten, "text": " ".join(filter(None, sentences))}


def signed(estimate: Mapping[str, Any]) -> str:
    """Return a difference with its interval, if it has one: ``+0.035 [+0.012, +0.060]``."""
    text = f"{_plus(estimate['value'])}"
    if estimate["low"] is None:
        return text
    return f"{text} [{_plus(estimate['low'])}, {_plus(estimate['high'])}]"


def _plus(value: float) -> str:
    # Rounded first: -0.0001 is no minus.
    return f"{round(value, 3) + 0.0:+.3f}"


def _claim(difference: Mapping[str, Any]) -> str:
    if difference["low"] > 0:
        return "The network beats colour and texture alone"
    if difference["high"] < 0:
        return "The network does NOT beat colour and texture alone, it is worse"
    return "The network is not shown to beat colour and texture alone"


def _chance(own: Mapping[str, Any]) -> str:
    """Say so where a run is not shown to know anything at all."""
    if own["low"] is None or own["low"] > CHANCE:
        return ""
    if own["high"] < CHANCE:
        return (
            f"It is worse than chance: the whole interval of its AUC, [{own['low']:.3f}, "
            f"{own['high']:.3f}], lies below 0.5."
        )
    return (
        f"It is not shown to beat chance: the interval of its AUC, [{own['low']:.3f}, "
        f"{own['high']:.3f}], holds 0.5."
    )


def beats_chance(estimate: Mapping[str, Any]) -> bool:
    """Tell whether the whole interval of an AUC lies above 0.5."""
    return estimate["low"] is not None and estimate["low"] > CHANCE


def _needless(difference: Mapping[str, Any]) -> str:
    if difference["high"] < 0:
        return ": this result needs no network"
    return ", an interval that holds 0"


def counted(level_metrics: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    """Return what was resampled and how many: "40 patients"."""
    number = difference["n_patients"]
    number = level_metrics["n"] if number is None else number
    word = level_metrics["resampled_by"]
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _category(baseline: Mapping[str, Any], what: str) -> str:
    """Return what a column of the table alone reaches, if the network is not shown to beat it.

    One that tells nothing itself is no rival: a run that does not beat it has other troubles.
    """
    difference = baseline["difference"]["auc"]
    if difference["low"] is None or difference["low"] > 0 or not beats_chance(baseline["auc"]):
        return ""
    reach = "does better" if difference["high"] < 0 else "may do as well"
    return (
        f"{what} alone, without any picture, {reach}: AUC {baseline['auc']['value']:.3f}, "
        f"difference {signed(difference)}."
    )


def _colour(colour: Mapping[str, Any], floor_beaten: bool) -> str:
    """Return what six colour numbers alone reach, if the network is not shown to beat them."""
    difference = colour["difference"]["auc"]
    if difference["low"] is None or difference["low"] > 0 or not beats_chance(colour["auc"]):
        return ""
    start = "But even" if floor_beaten else "Even"
    reach = "do better" if difference["high"] < 0 else "may do as well"
    return (
        f"{start} six colour numbers alone {reach}: AUC {colour['auc']['value']:.3f}, "
        f"difference {signed(difference)}."
    )
