"""Whether a segmentation network was needed, in words: the counterpart of ``verdict``."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.bootstrap import ALPHA, FEW_PATIENTS
from histokeras.analysis.segmentation import NETWORK
from histokeras.analysis.verdict import signed

FIGURE_WORDS = {"dice": "Dice", "iou": "IoU", "mean_iou": "mean IoU"}


def segmentation_verdict(metrics: Mapping[str, Any], *, alpha: float = ALPHA) -> dict[str, Any]:
    """Say whether the network is shown better than each floor.

    The pooled Dice of the class of interest decides (mean IoU where none is named); where the mean
    over patients says something else, that is told too.

    Args:
        metrics: What :func:`~histokeras.analysis.segmentation_units.evaluate_segmentation` returns,
            without its verdict.
        alpha: Share outside the intervals.

    Returns:
        ``beaten``: True only where the interval of the paired difference lies above 0 for every
        floor; False where it does not; None where it is not known, because there is no floor or
        there are fewer than 5 patients. ``against``: floor -> ``better``, ``worse``, ``not shown``
        or ``not known``. ``text``: some sentences.
    """
    name = metrics["main_figure"]
    own = metrics["models"][NETWORK]
    floors = {key: model for key, model in metrics["models"].items() if key != NETWORK}
    if not floors:
        return {"beaten": None, "against": {}, "text": "No floor was run beside the network."}
    against = {
        key: _state(model["difference"]["pooled"][name], metrics) for key, model in floors.items()
    }
    sentences = [
        _sentence(against[key], own, model, name, metrics, alpha) for key, model in floors.items()
    ]
    sentences += [_otherwise(against[key], model, name, metrics) for key, model in floors.items()]
    states = set(against.values())
    beaten = False if states & {"worse", "not shown"} else None if "not known" in states else True
    return {"beaten": beaten, "against": against, "text": " ".join(filter(None, sentences))}


def _state(difference: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    # Of so few an interval is hardly more than the smallest and the largest difference.
    if difference["low"] is None or metrics["n_units"] < FEW_PATIENTS:
        return "not known"
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "not shown"


_CLAIMS = {
    "better": "The network is shown better than {floor}",
    "worse": "The network is WORSE than {floor}",
    "not shown": "The network is not shown better than {floor}",
    "not known": "Not known whether the network is better than {floor}",
}


def _sentence(
    state: str,
    own: Mapping[str, Any],
    floor: Mapping[str, Any],
    name: str,
    metrics: Mapping[str, Any],
    alpha: float,
) -> str:
    claim = _CLAIMS[state].format(floor=floor["title"])
    network, theirs = own["pooled"][name]["value"], floor["pooled"][name]["value"]
    word, difference = FIGURE_WORDS[name], floor["difference"]["pooled"][name]
    if network is None or theirs is None:
        return f"{claim}: {word} is not defined, the class occurs nowhere."
    text = f"{claim}: {word} {network:.3f} against {theirs:.3f}, difference {signed(difference)}"
    n = metrics["n_units"]
    unit = f"{metrics['resampled_by']}{'' if n == 1 else 's'}"
    if state == "not known":
        why = (difference["note"] or "no interval").removeprefix(f"one {unit}: ")
        return f"{text} ({n:,} {unit}: {why})."
    text += f" ({100 * (1 - alpha):g} % interval, {n:,} {unit})"
    holds = ", an interval that holds 0" if state == "not shown" else ""
    care = f" Take care: {difference['note']}." if difference["note"] else ""
    return f"{text}{holds}.{care}"


def _otherwise(state: str, floor: Mapping[str, Any], name: str, metrics: Mapping[str, Any]) -> str:
    """Return a sentence where the mean over patients tells another story than the pool."""
    difference = floor["difference"]["unit_mean"][name]
    other = _state(difference, metrics)
    if "not known" in (state, other) or state == other:
        return ""
    unit = metrics["resampled_by"]
    words = {"better": "shown better", "worse": "worse", "not shown": "not shown better"}
    return (
        f"As a mean over {unit}s, in which each counts the same, it is {words[other]} than "
        f"{floor['title']}: difference {signed(difference)}."
    )
