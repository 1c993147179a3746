"""``segment`` on one slide: windows to class mask, outlines, areas and overlay."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from histokeras.errors import SlideError
from histokeras.files import canonical_json, safe_name, sha256_file, write_bytes, write_text
from histokeras.report.colours import mask_colours
from histokeras.report.segment_geojson import outlines_document
from histokeras.report.segment_job import SegmentJob
from histokeras.report.segment_picture import SIDE_PX, draw_overlay
from histokeras.slides.mask_tiff import (
    Paste,
    class_mask_writer,
    probability_writer,
    read_class_mask,
)
from histokeras.slides.outlines import MOST_PX, trace
from histokeras.slides.slide import Slide
from histokeras.slides.tissue_region import TissueRegion
from histokeras.slides.view import View, view_at
from histokeras.tiles.windows import Band, Wanted, segment_bands
from histokeras.types import IGNORE, PROB, SLIDE_ID

Counts = npt.NDArray[np.int64]


def file_names(job: SegmentJob, slide_id: str) -> dict[str, str]:
    """Return what the outputs of a slide are called: ``mask``, ``geojson``, ``overlay``, ...

    Args:
        job: What is done.
        slide_id: The slide.
    """
    names = {
        "mask": job.mask_path(slide_id).name,
        "geojson": f"{safe_name(slide_id)}.geojson",
        "overlay": f"{safe_name(f'{slide_id}.overlay')}.jpg",
    }
    if job.probability:
        for name in job.segmenter.shown:
            names[f"{PROB}{name}"] = f"{safe_name(f'{slide_id}.{PROB}{name}')}.tif"
    return names


def segment_slide(
    job: SegmentJob, slide: Slide, count: Callable[[int], None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Segment a slide and write its files.

    Args:
        job: How, and where to.
        slide: The open slide.
        count: Called with the number of windows read.

    Returns:
        What segment.csv says of it, and its rows of areas.csv.

    Raises:
        SlideError: If it cannot be read at the resolution, changes while it is read, or holds no
            tissue (NO_TISSUE).
        OutputError: If a file cannot be written.
    """
    view = _view(job, slide)
    region = None if job.everywhere or view.mpp is None else TissueRegion.of(view)
    if region is not None and not region.mask.any():
        raise SlideError(
            f"slide `{slide.name}`: no tissue was found.",
            code="NO_TISSUE",
            hint="If there is some, give --everywhere.",
        )
    files = {what: job.output / name for what, name in file_names(job, slide.slide_id).items()}
    counts = _write_masks(job, view, region, files, count)
    row, areas = _rows(job, view, counts)
    _write_outlines(job, view, row, areas, files)
    return row, areas


def digests(job: SegmentJob, slide_id: str) -> dict[str, str]:
    """Return file name -> SHA-256 of the outputs of a slide that are there."""
    paths = [job.output / name for name in file_names(job, slide_id).values()]
    return {path.name: sha256_file(path) for path in paths if path.is_file()}


def _view(job: SegmentJob, slide: Slide) -> View:
    try:
        return view_at(slide, job.segmenter.mpp)
    except SlideError as error:
        if error.code == "MAG_UNAVAILABLE":
            raise SlideError(
                error.message,
                code=error.code,
                hint="This network needs finer slides; they are never enlarged.",
            ) from error
        raise


@contextmanager
def _writers(
    job: SegmentJob, view: View, files: Mapping[str, Path]
) -> Iterator[tuple[Paste, dict[int, Paste]]]:
    """Open the mask, and the maps of probabilities that are wanted."""
    classes = job.segmenter.classes
    colours = list(_colours(job).values())
    with ExitStack() as stack:
        mask = stack.enter_context(
            class_mask_writer(files["mask"], view.size_px, colours, mpp=view.mpp)
        )
        maps = {
            classes.index(what.removeprefix(PROB)): stack.enter_context(
                probability_writer(path, view.size_px, mpp=view.mpp)
            )
            for what, path in files.items()
            if what.startswith(PROB)
        }
        yield mask, maps


def _write_masks(
    job: SegmentJob,
    view: View,
    region: TissueRegion | None,
    files: Mapping[str, Path],
    count: Callable[[int], None],
) -> Counts:
    """Segment a view; return how many pixels each class has."""
    n_classes = len(job.segmenter.classes)
    counts = np.zeros(n_classes, np.int64)
    wanted: Wanted | None = None if region is None else region.touches

    def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        count(len(images))
        return job.segmenter.predict(images)

    with _writers(job, view, files) as (mask, maps):
        for band in segment_bands(
            predict, view.read, view.size_px, n_classes, job.segmenter.windows, wanted=wanted
        ):
            seen = _seen(band, region)
            classes = band.probabilities.argmax(axis=-1).astype(np.uint8)
            counts += np.bincount(classes[seen], minlength=n_classes)
            classes[~seen] = IGNORE
            mask(band.left, band.top, classes)
            for number, paste in maps.items():
                shades = np.rint(band.probabilities[..., number] * np.float32(255))
                paste(band.left, band.top, np.where(seen, shades, 0).astype(np.uint8))
        # Before anything gets its final name.
        view.slide.require_unchanged()
    return counts


def _colours(job: SegmentJob) -> dict[str, tuple[int, int, int]]:
    return mask_colours(job.segmenter.classes, job.segmenter.positive)


def _seen(band: Band, region: TissueRegion | None) -> npt.NDArray[np.bool_]:
    if region is None:
        return band.covered
    rows, columns = band.covered.shape
    return band.covered & region.inside(band.left, band.top, columns, rows)


def _rows(
    job: SegmentJob, view: View, counts: Counts
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the rows of segment.csv and areas.csv; areas are None where the mpp is unknown."""
    slide, total = view.slide, int(counts.sum())
    px_mm2 = None if view.mpp is None else view.mpp**2 / 1e6
    areas = [
        {
            SLIDE_ID: slide.slide_id,
            "class": name,
            "n_px": int(n),
            "area_mm2": None if px_mm2 is None else int(n) * px_mm2,
            "share": int(n) / total,
        }
        for name, n in zip(job.segmenter.classes, counts, strict=True)
    ]
    row = {
        SLIDE_ID: slide.slide_id,
        "width_px": view.size_px[0],
        "height_px": view.size_px[1],
        "mpp": view.mpp,
        "mpp_source": "" if view.mpp is None else slide.mpp_source,
        "level0_px_per_px": view.scale,
        "segmented_px": total,
        "segmented_mm2": None if px_mm2 is None else total * px_mm2,
    }
    return row, areas


def _write_outlines(
    job: SegmentJob,
    view: View,
    row: Mapping[str, Any],
    areas: list[dict[str, Any]],
    files: Mapping[str, Path],
) -> None:
    classes = job.segmenter.classes
    mask, factor = read_class_mask(files["mask"], MOST_PX)
    least_px = job.least_um2 if view.mpp is None else job.least_um2 / view.mpp**2
    numbers = [classes.index(name) for name in job.segmenter.shown]
    outlines = trace(mask, factor, numbers, least_px=least_px)
    document = outlines_document(view.slide.slide_id, outlines, _colours(job), view.scale, view.mpp)
    write_text(files["geojson"], canonical_json(document) + "\n")
    shares = {area["class"]: area["share"] for area in areas}
    thumbnail = np.array(view.slide.thumbnail(SIDE_PX))
    size0 = view.size_px[0] * view.scale
    picture = draw_overlay(
        thumbnail,
        mask,
        _colours(job),
        {name: shares[name] for name in job.segmenter.shown},
        titles=(view.slide.slide_id, _says(row)),
        um_per_px=None if view.mpp is None else view.mpp / view.scale * size0 / thumbnail.shape[1],
        note=_note(job, view),
    )
    write_bytes(files["overlay"], picture)


def _says(row: Mapping[str, Any]) -> str:
    if row["segmented_mm2"] is None:
        return f"shares of {row['segmented_px']} px; the mpp is unknown"
    return f"shares of the {row['segmented_mm2']:.3g} mm² that were segmented"


def _note(job: SegmentJob, view: View) -> str:
    at = "its own pixels" if view.mpp is None else f"{view.mpp:.3g} µm per pixel"
    where = "the whole image" if job.everywhere or view.mpp is None else "tissue alone"
    return f"Outlines of a network's classes at {at}, {where}. For research use only."
