"""What of an extraction is done already and what is still to do. No TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from histokeras.errors import FeatureError, TableError
from histokeras.features.known import Known, feature_path, is_begun, look_at, manifest_path
from histokeras.features.ready_made import TILE_FACTS, TileSetSource
from histokeras.features.settings import FeatureSettings, require_same_settings
from histokeras.features.sources import Source, bad_tiles
from histokeras.features.store import read_provenance
from histokeras.files import prepare_folder, remove_leftovers, write_csv
from histokeras.runs.events import Done, Lost, lost
from histokeras.runs.record import require_own_folder
from histokeras.runs.shard import Shard, Share
from histokeras.runs.supervisor import Each, lookers, supervise
from histokeras.tables import read_own


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
        share: All slides of the command, and which of them this process takes.
    """

    folder: Path
    settings: dict[str, Any]
    todo: list[Source] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    share: Share = field(default_factory=Share)

    def finished(self) -> set[str]:
        """Return the slides that have features."""
        return {row["slide"] for row in self.outcomes if row["outcome"] in ("done", "skipped")}

    def sort(self) -> None:
        """Put outcomes and failures into the order of their slides: it tells not who was first."""
        self.outcomes.sort(key=lambda row: str(row["slide"]))
        self.failures.sort(key=lambda row: row["slide"])


def plan_extraction(
    sources: Sequence[Source],
    settings: FeatureSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> Plan:
    """Check the output folder and settle what is to do.

    Args:
        sources: Slides or folders of tiles.
        settings: How features are to be made.
        folder: The output folder.
        overwrite: Whether to do everything anew.
        shard: Which part of the sources to take; the checks concern all of them.

    Raises:
        FeatureError: If the folder holds features that were made in another way
            (CONFIG_MISMATCH); nothing has been done then.
        TableError: If two sources have the same slide_id (DUPLICATE_SLIDE_ID).
        ConfigError: If the folder holds something else.
    """
    require_own_folder(folder, ("extract-features", "predict"))
    share = Share([source.slide_id for source in sources], shard)
    plan = Plan(folder, settings.as_dict(), share=share)
    _require_distinct(sources)
    _require_one_kind(plan, sources, overwrite=overwrite)
    own = [source for source in sources if source.slide_id in share.own]
    _settle(plan, own, overwrite=overwrite)
    return plan


def prepare(plan: Plan) -> None:
    """Make the output folders and prove that they can be written to.

    Raises:
        OutputError: If not.
    """
    for name in ("features", "tiles", "empty"):
        prepare_folder(plan.folder / name)
    remove_leftovers(plan.folder)


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


def _settle(plan: Plan, sources: Sequence[Source], *, overwrite: bool) -> None:
    """Find out which sources are done already; the others are to do."""
    begun = (
        []
        if overwrite
        else [source for source in sources if is_begun(plan.folder, source.slide_id)]
    )
    known: dict[str, Known] = {}
    look = Each(partial(look_at, folder=plan.folder, settings=plan.settings))
    for event in supervise(begun, look, workers=lookers):
        if isinstance(event, Done):
            known[begun[event.task].slide_id] = event.result
        elif isinstance(event, Lost):
            slide_id = begun[event.task].slide_id
            known[slide_id] = Known.failed(slide_id, lost(slide_id, event))
    for source in sources:
        found = known.get(source.slide_id, Known())
        plan.notes += found.notes
        plan.failures += found.failures
        if found.outcome is None:
            plan.todo.append(source)
            continue
        plan.outcomes.append(found.outcome)
        if isinstance(source, TileSetSource) and found.outcome["outcome"] == "skipped":
            _refresh(plan, source, manifest_path(plan.folder, source.slide_id))


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
