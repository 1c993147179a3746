"""Areas, shares and classes of lymph nodes as a pathologist reads them."""

from collections.abc import Mapping
from typing import Any

from histokeras.analysis.lymph_size import ITC, MACRO, MACRO_MM, MICRO, MICRO_MM, NOT_RESOLVED
from histokeras.report.text import DASH, is_number

KINDS = {
    MACRO: "macrometastasis",
    MICRO: "micrometastasis",
    ITC: "isolated tumour cells",
    NOT_RESOLVED: "metastasis whose size is not resolved",
}
"""Classes of a node by its largest deposit, in words."""
_FEWEST = {2: 10.0, 1: 100.0}


def area_text(mm2: Any) -> str:
    """Return an area in square millimetres: "0.012", "3.46", "25.3", "412"."""
    if not is_number(mm2):
        return DASH
    if mm2 == 0:
        return "0"
    if mm2 < 0.1:
        return f"{mm2:.3f}" if mm2 >= 0.0005 else "< 0.001"
    digits = next((digits for digits, below in _FEWEST.items() if round(mm2, digits) < below), 0)
    return f"{mm2:.{digits}f}"


def length_text(mm: Any) -> str:
    """Return a length in millimetres: "0.08", "2.4", "12.0"; never rounded across 0.2 or 2."""
    if not is_number(mm) or mm == 0:
        return DASH
    digits = 2 if round(mm, 2) < 1 else 1
    # 1.97 mm is a micrometastasis, and "2.0" would be none.
    while any((mm < limit) != (round(mm, digits) < limit) for limit in (MICRO_MM, MACRO_MM)):
        digits += 1
    return f"{mm:.{digits}f}"


def share_text(share: Any) -> str:
    """Return a fraction in per cent with one decimal, without the sign; of tumour never "0.0"."""
    if not is_number(share):
        return DASH
    return "< 0.1" if 0 < share < 0.0005 else f"{100 * share:.1f}"


def class_text(row: Mapping[Any, Any]) -> str:
    """Return what kind of node it is: "macro", "ITC, not counted", "too little, not counted", "".

    Args:
        row: ``metastatic``, ``size_class`` and ``tumour_area_mm2`` of a node.
    """
    size = str(row["size_class"])
    if row["metastatic"]:
        return size
    if row["tumour_area_mm2"] > 0:
        return f"{size or 'too little'}, not counted"
    return ""
