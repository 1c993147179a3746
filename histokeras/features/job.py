"""One extraction as a user asks for it: inputs and options in, a plan out. No TensorFlow."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histokeras.cohort.pseudonyms import read_pseudonyms
from histokeras.cohort.tcga import Chosen, SlideChoice, choose_slides
from histokeras.errors import ConfigError, FeatureError, SlideError, TableError
from histokeras.features.known import feature_path
from histokeras.features.plan import Plan, plan_extraction
from histokeras.features.ready_made import tile_set_sources
from histokeras.features.renamed import normal_tissue_notes, under_pseudonyms
from histokeras.features.settings import COMPUTE_BATCH, FeatureSettings
from histokeras.features.sources import SlideSource, Source
from histokeras.features.tile_mpp import with_mpp
from histokeras.models.catalog import DEFAULT_BACKBONE, require_backbone
from histokeras.models.weights import WeightsSource, find_weights
from histokeras.runs.events import Done, Lost
from histokeras.runs.record import require_same_names
from histokeras.runs.shard import Shard
from histokeras.runs.supervisor import Each, lookers, supervise
from histokeras.slides.inventory import find_slides, read_slide_table, row_of, slide_id_of
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.folders import read_image, read_tile_set
from histokeras.tiles.grid import TileSpec


@dataclass(frozen=True, kw_only=True)
class ExtractJob:
    """What to extract, from what, how and where to.

    Attributes:
        inputs: Slides, or folders of slides or of ready-made tiles.
        output: The output folder.
        backbone: Name of the network.
        weights: ``imagenet``, a path or ``random:SEED``; the backbone's own default if None.
        trust: SHA-256 of a whole model whose weights may be taken; None if it is none.
        spec: How to cut; ``size_px`` None stands for the backbone's own size (for ready-made
            tiles: their own size).
        size_px: Side of a tile in pixels, or None.
        annotations: Folder of GeoJSON files for ``tissue="geojson"``.
        slide_table: Table with slide_id and any of mpp, patient_id.
        default_mpp: For slides that do not tell, in micrometres per pixel.
        recursive: Whether folders are searched to the bottom.
        ready_made: Whether the inputs are folders of tile images.
        tile_table: Table of the ready-made tiles.
        resize: Whether ready-made tiles of another size are resampled to ``size_px``.
        tiles_mpp: Micrometres per pixel of the ready-made tiles, as their images are; None if only
            their table may say it.
        precision: ``float32`` or ``mixed_float16``.
        compute_batch: Tiles a replica computes at once.
        dtype: How vectors are stored.
        stain_norm: ``none``, ``macenko`` or ``reinhard``.
        overwrite: Whether to do everything anew.
        max_bad_tiles: How many corrupt tiles of a slide may be left out before it fails.
        choice: Which TCGA slides are wanted.
        shard: Which part of them to take; None for all.
        pseudonyms: Table of pseudonyms, by which outputs name slides and patients; None for their
            own names.
    """

    inputs: Sequence[Path]
    output: Path
    backbone: str = DEFAULT_BACKBONE
    weights: str | None = None
    trust: str | None = None
    spec: TileSpec = dataclasses.field(default_factory=TileSpec)
    size_px: int | None = None
    annotations: Path | None = None
    slide_table: Path | None = None
    default_mpp: float | None = None
    recursive: bool = False
    ready_made: bool = False
    tile_table: Path | None = None
    resize: bool = False
    tiles_mpp: float | None = None
    precision: str = "float32"
    compute_batch: int = COMPUTE_BATCH
    dtype: str = "float32"
    stain_norm: str = "none"
    overwrite: bool = False
    max_bad_tiles: int = 0
    choice: SlideChoice = dataclasses.field(default_factory=SlideChoice)
    shard: Shard | None = None
    pseudonyms: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A job whose inputs and weights have been found.

    Attributes:
        plan: What is to do.
        weights: The weights.
        notes: Sentences for the user.
        chosen: The slides that are not wanted; the plan's outcomes list them too.
        sources: All slides or folders of tiles, done or not.
    """

    plan: Plan
    weights: WeightsSource
    notes: tuple[str, ...]
    chosen: Chosen
    sources: Sequence[Source] = ()


def prepare_job(job: ExtractJob, *, download: bool = True) -> Prepared:
    """Find slides, settle weights, look at what the output folder holds already.

    Args:
        job: What to do.
        download: Whether ImageNet weights may be downloaded if they are not here.

    Raises:
        MissingError: If the weights are not here (exit code 5); nothing has been done then.
        FeatureError: If the output folder holds features made in another way, or of slides that
            are not wanted.
        SlideError: If there are no slides, or none that is wanted.
        TableError: If there are no tiles, or a slide or patient has no pseudonym.
    """
    if job.pseudonyms is not None and job.ready_made and job.tile_table is None:
        raise ConfigError(
            "`--pseudonyms` for ready-made tiles needs `--tile-table`.",
            hint="Its slide_id and patient_id tell whose tiles they are.",
        )
    if job.tile_table is not None and not job.ready_made:
        raise ConfigError("`--tile-table` belongs to ready-made tiles: give --tiles too.")
    backbone = require_backbone(job.backbone)
    weights = find_weights(backbone, job.weights, download=download, trust=job.trust)
    pseudonyms = read_pseudonyms(job.pseudonyms)
    find = _tile_sources if job.ready_made else _slide_sources
    sources, spec, notes = find(job, pseudonyms)
    # Barcodes tell which slides are wanted: this comes before they get pseudonyms.
    chosen = choose_slides([source.slide_id for source in sources], job.choice)
    require_same_names(job.output, pseudonyms=pseudonyms is not None)
    if pseudonyms is not None:
        notes += normal_tissue_notes(sources, chosen)
        sources, chosen = under_pseudonyms(sources, chosen, pseudonyms)
    _require_none_left_out(job.output, chosen)
    sources = [source for source in sources if source.slide_id not in chosen.left_out]
    settings = FeatureSettings(
        backbone=backbone.name,
        weights=weights.label,
        weights_sha256=weights.sha256,
        tile=spec,
        ready_made=job.ready_made,
        resize=job.ready_made and job.resize,
        precision=job.precision,
        compute_batch=job.compute_batch,
        dtype=job.dtype,
        stain_norm=job.stain_norm,
    )
    plan = plan_extraction(sources, settings, job.output, overwrite=job.overwrite, shard=job.shard)
    plan.outcomes += chosen.outcomes()
    return Prepared(plan, weights, tuple(notes), chosen, tuple(sources))


def _require_none_left_out(folder: Path, chosen: Chosen) -> None:
    """Refuse a folder with features of slides that are not wanted: `fit-head` would take them."""
    found = [name for name in chosen.left_out if feature_path(folder, name).exists()]
    if found:
        raise FeatureError(
            f"{folder} holds features of {len(found)} slide(s) that are left out now, first "
            f"{found[0]!r} ({chosen.left_out[found[0]]}).",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or remove these files.",
        )


def _slide_sources(
    job: ExtractJob, pseudonyms: Pseudonyms | None
) -> tuple[Sequence[Source], TileSpec, list[str]]:
    size = job.size_px or require_backbone(job.backbone).tile_px
    spec = dataclasses.replace(job.spec, size_px=size)
    table = read_slide_table(job.slide_table) if job.slide_table is not None else {}
    sources, named = [], set()
    for path in find_slides(job.inputs, recursive=job.recursive):
        slide_id = slide_id_of(path)
        pseudonym = pseudonyms.find(slide_id) if pseudonyms is not None else None
        named |= {slide_id, pseudonym}
        sources.append(
            SlideSource(
                path=path,
                spec=spec,
                slide_id=slide_id,
                mpp=row_of(table, path, pseudonym or slide_id).mpp,
                default_mpp=job.default_mpp,
                annotations=job.annotations,
                max_bad_tiles=job.max_bad_tiles,
            )
        )
    unused = len(set(table) - named)
    notes = [f"{unused} row(s) of the slide table name no slide here"] if unused else []
    return sources, spec, notes


def _tile_sources(
    job: ExtractJob, pseudonyms: Pseudonyms | None
) -> tuple[Sequence[Source], TileSpec, list[str]]:
    table = with_mpp(read_tile_set(job.inputs, tile_table=job.tile_table), job.tiles_mpp)
    if table.empty:
        raise TableError(
            "no tile images in the folder(s) given.",
            code="TILES_MISSING",
            hint="Tiles are .png, .jpg, .tif or .bmp files.",
        )
    size = job.size_px or _first_size(table["path"])
    spec = dataclasses.replace(job.spec, size_px=size)
    notes = []
    if table.attrs.get("not_in_table"):
        notes.append(f"{table.attrs['not_in_table']} tile image(s) stand in no row of the table")
    return tile_set_sources(table, spec, resize=job.resize), spec, notes


def _first_size(paths: Iterable[str]) -> int:
    """Return the side of the first tile that can be read; the others are held against it."""
    for path in paths:
        try:
            return int(read_image(Path(path)).shape[0])
        except SlideError:
            continue
    raise TableError("none of the tile images can be read.", code="TILES_MISSING")


def describe_plan(prepared: Prepared, *, n_features: int) -> dict[str, Any]:
    """Return what ``--dry-run`` prints: slides and tiles to do, bytes, what is done already.

    Args:
        prepared: From :func:`prepare_job`.
        n_features: Length of a vector.

    Returns:
        ``slides``, ``done``, ``todo``, ``tiles`` (at most: some fall to the background rule when
        they are read), ``bytes`` and one row a slide.
    """
    plan = prepared.plan
    rows = [{"slide": row["slide"], "state": row["outcome"], "tiles": row.get("tiles", 0)}
            for row in plan.outcomes]  # fmt: skip
    bytes_each = n_features * (2 if plan.settings["dtype"] == "float16" else 4) + 16
    tiles = 0
    for event in supervise(plan.todo, Each(_count_tiles), workers=lookers):
        if isinstance(event, Done):
            rows.append(event.result)
            tiles += event.result["tiles"]
        elif isinstance(event, Lost):
            slide_id = plan.todo[event.task].slide_id
            rows.append({"slide": slide_id, "state": f"unreadable: {event.reason}", "tiles": 0})
    rows.sort(key=lambda row: str(row["slide"]))
    return {
        "slides": len(rows) - len(prepared.chosen.left_out),
        "done": sum(row["outcome"] in ("skipped", "empty") for row in plan.outcomes),
        "todo": len(plan.todo),
        "tiles": tiles,
        "bytes": tiles * bytes_each,
        "settings": plan.settings,
        "rows": rows,
    }


def _count_tiles(source: Source, beat: Callable[[int], None]) -> dict[str, Any]:
    try:
        opened = source.open()
    except Exception as error:
        return {"slide": source.slide_id, "state": f"unreadable: {error}", "tiles": 0}
    opened.close()
    return {"slide": source.slide_id, "state": "to do", "tiles": len(opened.rows)}
