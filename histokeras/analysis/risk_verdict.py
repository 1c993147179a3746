"""Whether the network tells more of survival than what is known without it, in sentences."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.bootstrap import ALPHA
from histokeras.analysis.compare import CLINICAL, FLOOR, IMAGE
from histokeras.analysis.concordance import C_INDEX
from histokeras.analysis.verdict import CHANCE, FLOOR_ITSELF

_WORDS = {
    CLINICAL: "the clinical columns alone",
    FLOOR: "colour and texture alone, without a network",
}
_IMAGE_ALONE = "the same head on images alone"
_NO_CLINICAL = "There are no clinical columns to compare with."


def risk_verdict(
    level: Mapping[str, Any], *, alpha: float = ALPHA, is_floor: bool = False
) -> dict[str, Any]:
    """Say whether the risks rank patients, and whether better than what needs no network.

    Args:
        level: The figures of the patients: ``aggregations``, ``baselines``.
        alpha: Share outside the intervals.
        is_floor: Whether the features are colour and texture themselves.

    Returns:
        ``beaten``: True only where the interval of the C-index lies above 0.5 and that of each
        paired difference (to clinical columns, and to colour and texture) above 0; None where the
        C-index lies above 0.5 and there is nothing to compare with. ``text``: sentences.
    """
    own, baselines = level["aggregations"]["risk"][C_INDEX], level["baselines"]
    sentences = [FLOOR_ITSELF] if is_floor else []
    shown = own["low"] is not None and own["low"] > CHANCE
    if not shown:
        sentences.append(
            f"No relation to survival is shown: the C-index is {_cell(own)}, and its "
            f"{100 * (1 - alpha):g} % interval does not lie above {CHANCE}, which is chance."
            if own["low"] is not None
            else f"No relation to survival is shown: {own['note'] or 'no interval'}."
        )
    else:
        sentences.append(f"The risk ranks patients better than chance: C-index {_cell(own)}.")
    states = []
    for name, words in _WORDS.items():
        if name in baselines:
            state, text = _compared(baselines[name], words)
            sentences.append(text)
            states.append(state)
    if IMAGE in baselines:
        # It is a network itself: told, but no measure of whether one was needed.
        sentences.append(_compared(baselines[IMAGE], _IMAGE_ALONE)[1])
    if CLINICAL not in baselines:
        sentences.append(_NO_CLINICAL)
    beaten = shown and all(states) if states else (None if shown else False)
    return {"beaten": beaten, "text": " ".join(sentences)}


def _compared(baseline: Mapping[str, Any], words: str) -> tuple[bool, str]:
    difference, theirs = baseline["difference"][C_INDEX], baseline[C_INDEX]
    if difference["low"] is None:
        why = difference["note"] or "no interval"
        return False, f"Not known whether it tells more than {words}: {why}."
    figures = f"C-index {theirs['value']:.3f}, difference {_cell(difference, signed=True)}"
    if difference["low"] > 0:
        return True, f"It tells more than {words} ({figures})."
    if difference["high"] < 0:
        return False, f"It tells less than {words} ({figures})."
    return False, f"It is not shown to tell more than {words} ({figures})."


def _cell(estimate: Mapping[str, Any], *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"
