"""Numbers and names as a reader sees them: three decimals, intervals, no control characters."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\u2013"
_UNSEEN = frozenset({"Cc", "Cs", "Co", "Cn"})
# Marks that turn the direction of the text around them: a name could rewrite its neighbours.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(value: Any) -> Any:
    """Replace what no page may hold, in text and in all text inside lists and mappings.

    Args:
        value: Anything that JSON or a table may hold.

    Returns:
        The same with U+FFFD for control characters (line feeds become spaces), half surrogates
        and marks of text direction; None for NaN and infinity.
    """
    if isinstance(value, str):
        return "".join(map(_clean_character, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


def _clean_character(character: str) -> str:
    if character in "\t\n\r":
        return " "
    if character in _BIDI or unicodedata.category(character) in _UNSEEN:
        return "\ufffd"
    return character


def at(content: Any, *keys: str) -> Any:
    """Return what stands at ``content[key][key]...``; None where any of them is missing."""
    for key in keys:
        if not isinstance(content, Mapping):
            return None
        content = content.get(key)
    return content


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, *, signed: bool = False) -> str:
    """Return a figure with three decimals, a dash where it is not defined."""
    if not is_number(value):
        return DASH
    # A minus sign, not a hyphen; no "-0.000".
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-0.000", "0.000").replace("+0.000", "0.000").replace("-", "\u2212")


def interval(estimate: Any, *, signed: bool = False) -> str:
    """Return "0.933 [0.876, 0.978]" of an Estimate as metrics.json holds it.

    Args:
        estimate: Mapping with ``value``, ``low`` and ``high``; None gives a dash.
        signed: Whether a figure above 0 bears its plus sign (differences).
    """
    value = at(estimate, "value")
    if not is_number(value):
        return DASH
    low, high = at(estimate, "low"), at(estimate, "high")
    if not (is_number(low) and is_number(high)):
        return f"{number(value, signed=signed)} [no interval]"
    return f"{number(value, signed=signed)} [{number(low)}, {number(high)}]"


def digits(value: Any, *, signed: bool = False) -> str:
    """Return a figure in the target's unit: four digits that count, a dash where not defined."""
    if not is_number(value):
        return DASH
    # A minus sign, not a hyphen, but not in an exponent.
    text = f"{value:+.4g}" if signed else f"{value:.4g}"
    return f"\u2212{text[1:]}" if text.startswith("-") else text


def measured(estimate: Any, *, signed: bool = False) -> str:
    """Return an Estimate in the target's unit: "10.23 [8.318, 12.26]"."""
    value, low, high = (at(estimate, key) for key in ("value", "low", "high"))
    if not is_number(value):
        return DASH
    if not (is_number(low) and is_number(high)):
        return f"{digits(value, signed=signed)} [no interval]"
    return f"{digits(value, signed=signed)} [{digits(low)}, {digits(high)}]"


def plural(count: int, word: str) -> str:
    """Return "1 patient", "1,200 patients", "3 classes"."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count:,} {word}{ending}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names as "a, b and c"; beyond ``most`` only how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def percent(share: Any) -> str:
    """Return a share in 0..1 as "43 %", a dash where it is not defined."""
    return f"{100 * share:.0f} %" if is_number(share) else DASH


def value_text(value: Any) -> str:
    """Return a setting as a reader would write it: no quotes, no brackets, a dash for none."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) or DASH
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(item) for item in value) or DASH
    return f"{value:g}" if isinstance(value, float) else str(value)
