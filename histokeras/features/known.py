"""What an earlier run left of one slide: finished and verified, empty, or to be done again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from histokeras.errors import FeatureError
from histokeras.features.settings import fingerprint
from histokeras.features.sources import Source, bad_tiles, with_left_out
from histokeras.features.store import read_features
from histokeras.files import safe_name
from histokeras.foreign.text import read_json
from histokeras.runs.record import failure
from histokeras.tables import read_own
from histokeras.tiles.plan import CORRUPT

STAIN_LEFT = "stain_left"


@dataclass
class Known:
    """What is known of a slide before any work.

    Attributes:
        outcome: Its outcome if it needs no work, else None.
        failures: Its rows of failures.csv.
        notes: Sentences for the user.
    """

    outcome: dict[str, Any] | None = None
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def failed(cls, slide_id: str, error: Exception) -> "Known":
        """Return that a slide cannot even be opened."""
        outcome = {"slide": slide_id, "outcome": "failed", "tiles": 0}
        return cls(outcome, [failure(slide_id, "open", error)])


def feature_path(folder: Path, slide_id: str) -> Path:
    """Return where the features of a slide lie: ``<folder>/features/<slide_id>.h5``."""
    return folder / "features" / f"{safe_name(slide_id)}.h5"


def manifest_path(folder: Path, slide_id: str) -> Path:
    """Return where the tile manifest of a slide lies: ``<folder>/tiles/<slide_id>.csv``."""
    return folder / "tiles" / f"{safe_name(slide_id)}.csv"


def empty_path(folder: Path, slide_id: str) -> Path:
    """Return where it is written down that a slide has no tiles to extract."""
    return folder / "empty" / f"{safe_name(slide_id)}.json"


def is_begun(folder: Path, slide_id: str) -> bool:
    """Return whether there is anything of a slide that can be looked at."""
    return any(path(folder, slide_id).exists() for path in (feature_path, empty_path))


def remove_outputs(folder: Path, slide_id: str) -> None:
    """Remove what an earlier run left of a slide that now fails: it is of other content."""
    for path in (feature_path, manifest_path, empty_path):
        path(folder, slide_id).unlink(missing_ok=True)


def look_at(
    source: Source, beat: Callable[[int], None], *, folder: Path, settings: Mapping[str, Any]
) -> Known:
    """Look at what is there of a slide: its checksums, its settings, its content.

    Args:
        source: The slide or folder.
        beat: Not needed: one slide takes a moment.
        folder: The output folder.
        settings: How features are to be made.
    """
    path, empty = feature_path(folder, source.slide_id), empty_path(folder, source.slide_id)
    try:
        identity = source.identity()
    except Exception as error:
        return Known.failed(source.slide_id, error)
    wanted = partial(_fingerprint, settings, identity, source.max_bad_tiles)
    notes: list[str] = []
    if path.exists():
        found = _finished(folder, source.slide_id, wanted)
        if isinstance(found, Known):
            return found
        notes.append(f"{source.slide_id}: computed anew, {found}")
    reason = _empty(empty, wanted)
    if reason is None:
        return Known(None, notes=notes)
    outcome = {"slide": source.slide_id, "outcome": "empty", "tiles": 0}
    return Known(outcome, [{"slide": source.slide_id, "stage": "tile", **reason}], notes)


def _fingerprint(
    settings: Mapping[str, Any], identity: Mapping[str, Any], max_bad_tiles: int, corrupt: Any
) -> str:
    """Return the fingerprint of a slide without its corrupt tiles; "" if they are too many now."""
    if len(corrupt) > max_bad_tiles:
        return ""
    return fingerprint(settings, with_left_out(identity, corrupt))


def _finished(folder: Path, slide_id: str, wanted: Callable[[Any], str]) -> Known | str:
    """Return what is known of a slide whose features stand, or why they do not."""
    try:
        features = read_features(feature_path(folder, slide_id))
    except FeatureError as error:
        return error.message
    corrupt = features.provenance.get("slide", {}).get(CORRUPT, [])
    expected = wanted(corrupt)
    if not expected:
        return f"{len(corrupt)} corrupt tile(s) were left out before"
    if features.provenance.get("fingerprint") != expected:
        return "the slide or its mpp has changed"
    manifest = manifest_path(folder, slide_id)
    if not manifest.exists():
        return "its tile manifest is missing"
    outcome = {"slide": slide_id, "outcome": "skipped", "tiles": len(features)}
    outcome["sha256"] = features.provenance["arrays_sha256"]
    rows = bad_tiles(slide_id, read_own(manifest, keep_default_na=False)) if corrupt else []
    return Known(outcome | stain_left(features.provenance), rows)


def _empty(path: Path, wanted: Callable[[Any], str]) -> dict[str, str] | None:
    """Return why a slide has no tiles, if that was found before; else None."""
    try:
        known = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(known, dict):
        return None
    expected = wanted(known.get(CORRUPT, []))
    return dict(known["reason"]) if expected and known.get("fingerprint") == expected else None


def stain_left(provenance: Mapping[str, Any]) -> dict[str, int]:
    """Return how many tiles of a feature file kept their own stain, for the outcome of its slide.

    Args:
        provenance: Of the feature file.

    Returns:
        ``STAIN_LEFT`` -> their number; empty if there are none.
    """
    left = int(provenance.get("stain", {}).get("left_as_they_are", 0))
    return {STAIN_LEFT: left} if left else {}
