"""Whether the output of the very same inputs stands in a folder already."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histokeras.errors import FeatureError
from histokeras.files import canonical_json
from histokeras.runs.record import read_record


def require_same_inputs(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Refuse a folder with a run of other inputs; tell whether this very run ended there.

    Raises:
        FeatureError: If another run stands there (CONFIG_MISMATCH).
    """
    known = read_record(folder)
    if "inputs" not in known:
        # None, or one that was interrupted before its inputs were known.
        return False
    # As JSON has them: tuples are lists there.
    before, now = known.get("inputs") or {}, json.loads(canonical_json(inputs))
    if before != now:
        keys = ", ".join(_differing(before, now))
        raise FeatureError(
            f"{folder} holds another run: other {keys}.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite.",
        )
    return str(known.get("status")).startswith("done")


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs, one level down into groups of options."""
    names: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += [f"{key} ({name})" for name in _differing(old, new)]
        elif old != new:
            names.append(key)
    return names
