"""What of an extraction is done already and what is still to do. No TensorFlow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histokeras.errors import FeatureError, TableError
from histokeras.features.settings import FeatureSettings, fingerprint, require_same_settings
from histokeras.features.sources import TILE_FACTS, Source, TileSetSource, bad_tiles
from histokeras.features.store import read_features, read_provenance
from histokeras.files import prepare_folder, safe_name, write_csv
from histokeras.runs.record import failure, require_own_folder
from histokeras.tables import read_own

STAIN_LEFT = "stain_left"


@dataclass
class Plan:
    """Which slides are to do, which are done, which cannot be opened.

    Attributes:
        folder: The output folder.
        settings: How features are made, as plain values.
        todo: Sources to extract.
        outcomes: What is known of the others already: ``slide``, ``outcome``, ``tiles``, ...
        failures: Rows of failures.csv for slides that cannot be opened, or have no tissue.
        notes: Sentences for the user.
    """

    folder: Path
    settings: dict[str, Any]
    todo: list[Source] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def finished(self) -> set[str]:
        """Return the slides that have features."""
        return {row["slide"] for row in self.outcomes if row["outcome"] in ("done", "skipped")}


def feature_path(folder: Path, slide_id: str) -> Path:
    """Return where the features of a slide lie: ``<folder>/features/<slide_id>.h5``."""
    return folder / "features" / f"{safe_name(slide_id)}.h5"


def manifest_path(folder: Path, slide_id: str) -> Path:
    """Return where the tile manifest of a slide lies: ``<folder>/tiles/<slide_id>.csv``."""
    return folder / "tiles" / f"{safe_name(slide_id)}.csv"


def empty_path(folder: Path, slide_id: str) -> Path:
    """Return where it is written down that a slide has no tiles to extract."""
    return folder / "empty" / f"{safe_name(slide_id)}.json"


def plan_extraction(
    sources: Sequence[Source], settings: FeatureSettings, folder: Path, *, overwrite: bool = False
) -> Plan:
    """Check the output folder and settle what is to do.

    Args:
        sources: Slides or folders of tiles.
        settings: How features are to be made.
        folder: The output folder.
        overwrite: Whether to do everything anew.

    Raises:
        FeatureError: If the folder holds features that were made in another way
            (CONFIG_MISMATCH); nothing has been done then.
        TableError: If two sources have the same slide_id (DUPLICATE_SLIDE_ID).
        ConfigError: If the folder holds something else.
    """
    require_own_folder(folder, ("extract-features", "predict"))
    plan = Plan(folder, settings.as_dict())
    _require_distinct(sources)
    _require_one_kind(plan, sources, overwrite=overwrite)
    for source in sources:
        if overwrite or not _known(plan, source):
            plan.todo.append(source)
    return plan


def prepare(plan: Plan) -> None:
    """Make the output folders and prove that they can be written to.

    Raises:
        OutputError: If not.
    """
    for name in ("features", "tiles", "empty"):
        prepare_folder(plan.folder / name)


def _require_distinct(sources: Sequence[Source]) -> None:
    # Compared without case: two such files are one file on many systems.
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(source.slide_id.casefold(), source.slide_id)
        if other is not source.slide_id:
            raise TableError(
                f"two slides share the id {source.slide_id!r}.",
                code="DUPLICATE_SLIDE_ID",
                hint="Rename one of them, or extract them into two folders.",
            )


def _require_one_kind(plan: Plan, sources: Sequence[Source], *, overwrite: bool) -> None:
    redone = {feature_path(plan.folder, source.slide_id) for source in sources} if overwrite else ()
    for path in sorted((plan.folder / "features").glob("[!.]*.h5")):
        if path in redone:
            continue
        try:
            found = read_provenance(path).get("settings", {})
        except FeatureError:
            continue  # damaged: computed anew below, or found by `verify`
        require_same_settings(
            found,
            plan.settings,
            where=f"{plan.folder} holds features ({path.name})",
            hint="Choose a new output folder"
            + ("." if overwrite else ", or give --overwrite to compute them anew."),
        )


def _known(plan: Plan, source: Source) -> bool:
    """Return whether a source needs no work, and write down why."""
    path, empty = (
        feature_path(plan.folder, source.slide_id),
        empty_path(plan.folder, source.slide_id),
    )
    if not path.exists() and not empty.exists():
        return False
    try:
        wanted = fingerprint(plan.settings, source.identity())
    except Exception as error:
        plan.failures.append(failure(source.slide_id, "open", error))
        plan.outcomes.append({"slide": source.slide_id, "outcome": "failed"})
        return True
    return _known_features(plan, source, path, wanted) or _known_empty(plan, source, empty, wanted)


def _known_features(plan: Plan, source: Source, path: Path, wanted: str) -> bool:
    if not path.exists():
        return False
    try:
        features = read_features(path)
    except FeatureError as error:
        plan.notes.append(f"{source.slide_id}: computed anew, {error.message}")
        return False
    if features.provenance.get("fingerprint") != wanted:
        plan.notes.append(f"{source.slide_id}: computed anew, the slide or its mpp has changed")
        return False
    manifest = manifest_path(plan.folder, source.slide_id)
    if not manifest.exists():
        plan.notes.append(f"{source.slide_id}: computed anew, its tile manifest is missing")
        return False
    if isinstance(source, TileSetSource):
        _refresh(plan, source, manifest)
    plan.outcomes.append(
        {"slide": source.slide_id, "outcome": "skipped", "tiles": len(features)}
        | {"sha256": features.provenance["arrays_sha256"]}
        | stain_left(features.provenance)
    )
    return True


def stain_left(provenance: Mapping[str, Any]) -> dict[str, int]:
    """Return how many tiles of a feature file kept their own stain, for the outcome of its slide.

    Args:
        provenance: Of the feature file.

    Returns:
        ``STAIN_LEFT`` -> their number; empty if there are none.
    """
    left = int(provenance.get("stain", {}).get("left_as_they_are", 0))
    return {STAIN_LEFT: left} if left else {}


def _refresh(plan: Plan, source: TileSetSource, path: Path) -> None:
    """Carry corrected labels and patients of the tile table over; list the bad tiles again."""
    known = read_own(path, dtype=dict.fromkeys(TILE_FACTS, str), keep_default_na=False)
    wanted = source.described().astype(str)
    if not known[list(TILE_FACTS)].equals(wanted):
        known[list(TILE_FACTS)] = wanted
        prepare_folder(path.parent)
        write_csv(path, known)
        plan.notes.append(f"{source.slide_id}: labels and ids taken over from the new tile table")
    plan.failures += bad_tiles(source.slide_id, known)


def _known_empty(plan: Plan, source: Source, path: Path, wanted: str) -> bool:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if known.get("fingerprint") != wanted:
        return False
    plan.outcomes.append({"slide": source.slide_id, "outcome": "empty", "tiles": 0})
    plan.failures.append({"slide": source.slide_id, "stage": "tile", **known["reason"]})
    return True
