"""Cut many slides into tiles: manifests, pictures, images, failures. One bad slide stops nobody."""

import dataclasses
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image as PillowImage

from histokeras import files
from histokeras.errors import OutputError, SlideError, TableError
from histokeras.runs.events import STALL_S, Beat, Done, Event, Lost, Retry, lost
from histokeras.runs.lease import LeasedTasks, Leases
from histokeras.runs.patience import Patience
from histokeras.runs.progress import Progress
from histokeras.runs.record import RunRecord, failure, require_own_folder, require_same_names
from histokeras.runs.shard import Shard, Share
from histokeras.runs.supervisor import Each, supervise
from histokeras.runs.union import FAILURES, shared_record
from histokeras.slides.called import called
from histokeras.slides.inventory import SlideRow, pseudonym_of, row_of
from histokeras.slides.reader import open_slide
from histokeras.slides.slide import Slide
from histokeras.slides.source import Image
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.cut import read_candidates
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest import empty_reason, finish_manifest, left_out_rows
from histokeras.tiles.manifest_file import read_facts, read_manifest, write_manifest
from histokeras.tiles.picture import draw_tiles
from histokeras.tiles.plan import CORRUPT, TilePlan, annotation_path, plan_tiles

_LOG = logging.getLogger(__name__)
_IMAGE_NAME = re.compile(r"\d+_\d+\.png")


@dataclass(frozen=True, kw_only=True)
class TileJob:
    """What to cut, how, and where to.

    Attributes:
        slides: Slide files with distinct slide_ids.
        output: The output folder.
        spec: How to cut.
        annotations: Folder of GeoJSON files, named as the slides are, for
            ``spec.tissue="geojson"``.
        table: Rows of the slide table.
        default_mpp: For slides that do not tell.
        save_images: Whether the kept tiles are written as PNG too.
        overwrite: Whether finished slides are cut anew.
        workers: Reading threads; None for the number of cores, at most 8.
        stall_s: Seconds without a tile after which a worker is taken to hang.
        fail_fast: Whether the first failed slide ends the work.
        max_bad_tiles: How many corrupt tiles of a slide may be left out before it fails.
        left_out: Slides that were not wanted, as run.json lists them: ``slide``, ``outcome``,
            ``reason``.
        shard: Which part of the slides to take; None for all.
        pseudonyms: By which outputs name the slides; None for their own names.
    """

    slides: Sequence[Path]
    output: Path
    spec: TileSpec = field(default_factory=TileSpec)
    annotations: Path | None = None
    table: Mapping[str, SlideRow] = field(default_factory=dict)
    default_mpp: float | None = None
    save_images: bool = False
    overwrite: bool = False
    workers: int | None = None
    stall_s: float = STALL_S
    fail_fast: bool = False
    max_bad_tiles: int = 0
    left_out: Sequence[Mapping[str, Any]] = ()
    shard: Shard | None = None
    pseudonyms: Pseudonyms | None = None

    def slide_id(self, path: Path) -> str:
        """Return the slide_id of a slide as outputs have it."""
        return pseudonym_of(path, self.pseudonyms)

    @property
    def share(self) -> Share:
        """All slides, and which of them are taken."""
        return Share([self.slide_id(path) for path in self.slides], self.shard)

    def taken(self) -> list[Path]:
        """Return the slides of this process."""
        own = self.share.own
        return [path for path in self.slides if self.slide_id(path) in own]

    def manifest_path(self, slide_id: str) -> Path:
        """Return where the manifest of a slide lies."""
        return self.output / "tiles" / f"{files.safe_name(slide_id)}.csv"

    def picture_path(self, slide_id: str) -> Path:
        """Return where the picture of a slide lies."""
        return self.output / "pictures" / f"{files.safe_name(slide_id)}.png"

    def image_folder(self, slide_id: str) -> Path:
        """Return where the kept tiles of a slide lie."""
        return self.output / "images" / files.safe_name(slide_id)


def tile_slides(job: TileJob, *, config: Mapping[str, Any], quiet: bool = False) -> RunRecord:
    """Cut every slide of a job; slides that are finished already are skipped.

    Args:
        job: What to do.
        config: The resolved options, for run.json.
        quiet: Whether to keep progress to oneself.

    Returns:
        The record: ``slides`` has one entry a slide with ``outcome`` (done, skipped, empty,
        failed or left out), ``facts["failures"]`` the rows of failures.csv.

    Raises:
        TableError: CONFIG_MISMATCH if the folder holds manifests made with another spec; nothing
            has been done then.
        OutputError: If the output cannot be written.
    """
    _require_same_spec(job)
    require_own_folder(job.output, ("tile",))
    require_same_names(job.output, pseudonyms=job.pseudonyms is not None)
    for name in ("tiles", "pictures"):
        files.prepare_folder(job.output / name)
    files.remove_leftovers(job.output)
    failures: list[dict[str, str]] = []
    patience = Patience(fail_fast=job.fail_fast)
    record = RunRecord("tile", config, slides=[dict(row) for row in job.left_out])
    record.facts |= {"settings": dataclasses.asdict(job.spec), FAILURES: failures}
    taken = dataclasses.replace(job, slides=job.taken(), shard=None)
    with (
        shared_record(record, job.output, failures, job.share),
        Progress(len(taken.slides), quiet=quiet) as progress,
    ):
        for outcome, problem in _work(taken, progress):
            record.slides.append(outcome)
            failures += _left_out(job, outcome)
            failures += [problem] if problem else []
            patience.slide(problem if outcome["outcome"] == "failed" else None)
    order = {job.slide_id(path): position for position, path in enumerate(job.slides)}
    record.slides.sort(key=lambda row: order.get(row["slide"], -1))
    failures.sort(key=lambda row: order[row["slide"]])
    return record


def _work(
    job: TileJob, progress: Progress
) -> Iterator[tuple[dict[str, Any], dict[str, str] | None]]:
    """Have workers cut the slides; yield outcome and row of failures.csv of each."""
    for event in _events(job):
        outcome: dict[str, Any]
        if isinstance(event, Done):
            outcome, problem = event.result
        elif isinstance(event, Lost):
            slide_id = job.slide_id(job.slides[event.task])
            outcome = {"slide": slide_id, "outcome": "failed"}
            problem = failure(slide_id, "tile", lost(slide_id, event))
        else:
            if isinstance(event, Beat):
                progress.tiles(event.n)
            elif isinstance(event, Retry):
                names = ", ".join(job.slide_id(job.slides[task]) for task in event.tasks)
                progress.note(event.text(names))
            continue
        progress.slide(outcome["slide"], outcome["outcome"], _detail(outcome, problem))
        yield outcome, problem


def _events(job: TileJob) -> Iterator[Event]:
    with Leases(job.output) as leases:
        claims = LeasedTasks(leases, [job.slide_id(path) for path in job.slides])
        work = Each(partial(_tile_slide, job))
        yield from supervise(job.slides, work, stall_s=job.stall_s, claims=claims)


def _detail(outcome: Mapping[str, Any], problem: Mapping[str, str] | None) -> str:
    if problem is not None:
        return f"{problem['code']} {problem['message']}"
    corrupt = outcome["rejected"].get(CORRUPT, 0)
    text = f"{corrupt} corrupt tile(s) left out, " if corrupt else ""
    text += f"{outcome['tiles']} of {outcome['grid']} tiles kept at {outcome['mpp']:g} um per pixel"
    again = " (finished before with the same settings)" if outcome["outcome"] == "skipped" else ""
    return "; ".join([text + again, *outcome.get("notes", [])])


def _left_out(job: TileJob, outcome: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of failures.csv for the corrupt tiles that a slide goes without."""
    if not outcome.get("rejected", {}).get(CORRUPT):
        return []
    slide_id = outcome["slide"]
    return left_out_rows(slide_id, read_manifest(job.manifest_path(slide_id)))


def _require_same_spec(job: TileJob) -> None:
    """Refuse a folder whose manifests were cut in another way, before any work."""
    redone = {job.manifest_path(job.slide_id(path)) for path in job.slides} if job.overwrite else ()
    wanted = dataclasses.asdict(job.spec)
    for path in sorted((job.output / "tiles").glob("[!.]*.csv")):
        found = read_facts(path).get("spec", wanted)
        differing = sorted(key for key in wanted if found.get(key) != wanted[key])
        if differing and path not in redone:
            shown = ", ".join(f"{key} {found.get(key)} (now {wanted[key]})" for key in differing)
            raise TableError(
                f"{path} was cut with other settings: {shown}.",
                code="CONFIG_MISMATCH",
                hint="Choose a new output folder, or give --overwrite to cut all of it anew.",
            )


def _tile_slide(
    job: TileJob, path: Path, beat: Callable[[int], None]
) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Cut one slide; return its outcome and, if something is wrong, its row of failures.csv."""
    slide_id = job.slide_id(path)
    stage = "open"
    try:
        mpp = row_of(job.table, path, slide_id).mpp
        known: dict[str, Any] = {"mpp": mpp, "default_mpp": job.default_mpp, "slide_id": slide_id}
        with called(path, slide_id), open_slide(path, **known) as slide:
            facts = _facts(job, slide)
            outcome = None if job.overwrite else _finished(job, slide_id, facts)
            if outcome is None:
                stage = "tile"
                outcome = _cut(job, slide, facts, beat)
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, SlideError):
            _LOG.warning("slide %s failed unexpectedly", slide_id, exc_info=True)
        return {"slide": slide_id, "outcome": "failed"}, failure(slide_id, stage, error)
    if outcome.get("code"):
        problem = SlideError(outcome["message"], code=outcome["code"], hint=_picture_hint(job))
        return outcome, failure(slide_id, "tile", problem)
    return outcome, None


def _picture_hint(job: TileJob) -> str:
    return f"See its picture in {job.output.name}/pictures."


def _facts(job: TileJob, slide: Slide) -> dict[str, Any]:
    """Return what a finished manifest must have been made with."""
    mask = ""
    if job.annotations is not None:
        path = annotation_path(job.annotations, slide.path)
        mask = files.sha256_file(path) if path.is_file() else ""
    return {
        "content": slide.content_id(),
        "slide_mpp": float(slide.mpp),
        "mpp_source": slide.mpp_source,
        "mask": mask,
        "spec": dataclasses.asdict(job.spec),
    }


def _finished(job: TileJob, slide_id: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the outcome of a slide that was cut before in the same way, else None."""
    found = read_facts(job.manifest_path(slide_id))
    if any(found.get(key) != value for key, value in facts.items()):
        return None
    outcome = dict(found["outcome"])
    # More than may be left out now: the slide must not pass for one without them.
    if outcome.get("rejected", {}).get(CORRUPT, 0) > job.max_bad_tiles:
        return None
    if job.save_images and outcome["tiles"] > _count_images(job.image_folder(slide_id)):
        return None
    return outcome if outcome["outcome"] == "empty" else outcome | {"outcome": "skipped", "read": 0}


def _count_images(folder: Path) -> int:
    return sum(bool(_IMAGE_NAME.fullmatch(path.name)) for path in folder.glob("*.png"))


def _cut(
    job: TileJob, slide: Slide, facts: Mapping[str, Any], beat: Callable[[int], None]
) -> dict[str, Any]:
    plan = plan_tiles(slide, job.spec, annotations=job.annotations, max_bad_tiles=job.max_bad_tiles)
    save = _ImageSaver(plan, job.image_folder(slide.slide_id)) if job.save_images else None
    backgrounds = read_candidates(plan, workers=job.workers, on_kept=save, beat=beat)
    manifest = finish_manifest(plan, backgrounds)
    slide.require_unchanged()
    if save is not None:
        save.remove_others(manifest)
    _draw(plan, manifest, job.picture_path(slide.slide_id))
    outcome = _outcome(plan, manifest, facts)
    # Last of all: a slide with a signed manifest is finished.
    write_manifest(job.manifest_path(slide.slide_id), manifest, {**facts, "outcome": outcome})
    return outcome


def _outcome(plan: TilePlan, manifest: pd.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    reasons = manifest.loc[~manifest["kept"], "reason"].value_counts().sort_index()
    empty = empty_reason(plan, manifest)
    outcome: dict[str, Any] = {
        "slide": plan.slide.slide_id,
        "outcome": "done" if empty is None else "empty",
        "tiles": int(manifest["kept"].sum()),
        "grid": len(manifest),
        "read": len(plan.candidates),
        "rejected": {str(reason): int(n) for reason, n in reasons.items()},
        "mpp": float(plan.choice.mpp),
        "slide_mpp": facts["slide_mpp"],
        "mpp_source": facts["mpp_source"],
        "level": plan.choice.level,
        "resampled": plan.choice.resampled,
        "notes": list(plan.notes),
    }
    if empty is not None:
        outcome["code"], outcome["message"] = empty
    return outcome


def _draw(plan: TilePlan, manifest: pd.DataFrame, path: Path) -> None:
    try:
        draw_tiles(plan, manifest, path)
    except OutputError:
        raise
    except Exception as error:
        # Cosmetics never fail a slide.
        _LOG.warning("slide %s: no picture (%s)", plan.slide.slide_id, error)


class _ImageSaver:
    """Writes kept tiles as PNG, one by one, while they are read."""

    def __init__(self, plan: TilePlan, folder: Path) -> None:
        self._plan = plan
        self._folder = files.prepare_folder(folder)

    def _name(self, row: int) -> str:
        x, y = self._plan.origins[row]
        return f"{x}_{y}.png"

    def __call__(self, row: int, image: Image) -> None:
        buffer = io.BytesIO()
        PillowImage.fromarray(image).save(buffer, format="PNG", compress_level=3)
        files.write_bytes(self._folder / self._name(row), buffer.getvalue())

    def remove_others(self, manifest: pd.DataFrame) -> None:
        """Remove tiles of an earlier run that are not kept now."""
        kept = {self._name(int(row)) for row in manifest.index[manifest["kept"]]}
        for path in self._folder.glob("*.png"):
            if _IMAGE_NAME.fullmatch(path.name) and path.name not in kept:
                path.unlink()
