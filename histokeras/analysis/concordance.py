"""Harrell's C-index: of two patients, does the one with the higher risk have the event first?"""

import numpy as np

from histokeras.analysis.bootstrap import Figures
from histokeras.analysis.metrics import Bools, Floats, Ints

C_INDEX = "c_index"
_EVENTS = "those with an event"


def c_index(time: Floats, event: Bools, risk: Floats, fold: Ints | None = None) -> float:
    """Return the share of comparable pairs that ``risk`` puts in the right order.

    A pair is comparable if the one with the shorter time had the event; of equal times if exactly
    one had it, who then counts as first. Equal risks count one half.

    Args:
        time: Follow-up, ``(P,)``.
        event: Whether it ended in the event, ``(P,)``.
        risk: Any number that is higher for those expected to have the event earlier, ``(P,)``.
        fold: Where risks of different models may not be compared, the model's number, ``(P,)``:
            only pairs of one model count.

    Returns:
        0..1, 0.5 for a constant risk; NaN if no pair is comparable.
    """
    return float(c_figures(time, event, risk, fold).of_counts(np.ones((1, len(time))))[0, 0])


def c_figures(time: Floats, event: Bools, risk: Floats, fold: Ints | None = None) -> Figures:
    """Return the C-index as a figure for :func:`~histokeras.analysis.bootstrap.patient_bootstrap`.

    Args:
        time: As for :func:`c_index`, patients in the order of their ids.
        event: The same.
        risk: The same.
        fold: The same.
    """
    first = event[:, np.newaxis] & (
        (time[:, np.newaxis] < time) | ((time[:, np.newaxis] == time) & ~event)
    )
    if fold is not None:
        first &= fold[:, np.newaxis] == fold
    # Whole and half numbers below 2**24: exact in float32, at half the memory.
    pairs = first.astype(np.float32)
    right = pairs * (
        (risk[:, np.newaxis] > risk) + np.float32(0.5) * (risk[:, np.newaxis] == risk)
    ).astype(np.float32)

    def of_counts(counts: Floats) -> Floats:
        drawn = counts.astype(np.float32)
        concordant = ((drawn @ right).astype(np.float64) * counts).sum(axis=1)
        comparable = ((drawn @ pairs).astype(np.float64) * counts).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = (concordant / comparable)[:, np.newaxis]
        return found

    return Figures((C_INDEX,), of_counts, len(time), ((_EVENTS,),), {_EVENTS: event})
