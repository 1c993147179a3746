"""Where the lymph nodes of a slide lie: found by a segmenter, or drawn."""

from pathlib import Path

import numpy as np

from histokeras.analysis.lymph_drawn import drawn_nodes
from histokeras.analysis.lymph_nodes import find_nodes, number_nodes
from histokeras.analysis.lymph_split import Labels
from histokeras.errors import SlideError
from histokeras.report.lymph_job import LymphJob, NodeSlide
from histokeras.slides.annotations import Drawing, Region, read_regions, require_on_slide
from histokeras.slides.called import called
from histokeras.slides.node_classes import regions_of
from histokeras.slides.slide import Slide
from histokeras.slides.tissue import Mask
from histokeras.slides.tissue_region import TissueRegion
from histokeras.slides.view import View, view_at
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.windows import segment_bands

MOST_PX = 1 << 26
"""Of an overview: it is held as a whole."""


def overview_of(job: LymphJob, slide: Slide) -> View:
    """Look at a slide at the resolution at which its nodes are found.

    Raises:
        SlideError: If it does not tell its mpp, has no such resolution, or is too large at it.
    """
    # Areas in mm2 need it, whatever the overview is.
    float(slide.mpp)
    view = view_at(slide, job.mpp)
    if view.size_px[0] * view.size_px[1] > MOST_PX:
        raise SlideError(
            f"slide `{slide.name}` has {view.size_px[0]} x {view.size_px[1]} px at {job.mpp:g} um "
            f"per pixel: too many for an overview.",
            code="OUT_OF_MEMORY",
            hint="Use a segmenter of a coarser resolution, such as 10 um per pixel."
            if job.segmenter is not None
            else "Give a coarser --overview-mpp.",
        )
    return view


def slide_nodes(
    job: LymphJob, view: View, entry: NodeSlide, tissue: TissueRegion
) -> tuple[Labels, int]:
    """Find the lymph nodes of a slide.

    Args:
        job: How.
        view: The overview.
        entry: What is known of the slide.
        tissue: Where it is not glass.

    Returns:
        int32 (h, w) of the overview: 0 outside, nodes 1..n in reading order; and how many pieces
        were dropped because they are too small.

    Raises:
        SlideError: NO_TISSUE if a network was to look at glass alone; ANNOTATION_MISSING,
            ANNOTATION_UNREADABLE or ANNOTATION_OUTSIDE.
    """
    mpp = float(view.slide.mpp) * view.scale
    if job.segmenter is not None:
        if not tissue.mask.any():
            raise SlideError(f"slide `{view.slide.name}`: no tissue was found.", code="NO_TISSUE")
        mask = _segmented(job.segmenter, job.node_classes[0], view, tissue)
        return find_nodes(mask, mpp, job.rules)
    return number_nodes(_drawn(job, view, entry), mpp, job.rules)


def drawn_tumour(job: LymphJob, view: View, entry: NodeSlide) -> Mask:
    """Return where tumour was drawn, bool (h, w) of the overview.

    Raises:
        SlideError: ANNOTATION_MISSING, ANNOTATION_UNREADABLE or ANNOTATION_OUTSIDE.
    """
    path = entry.tumour
    if path is None:
        raise _missing(view, "tumour")
    with called(entry.path, entry.slide_id):
        regions = regions_of(_read(path, view), job.tumour_classes)
    picture = np.zeros(view.size_px[::-1], np.uint8)
    drawing = Drawing(regions, [0 if region.erases else 1 for region in regions])
    drawing.draw(picture, (view.scale, view.scale))
    return picture > 0


def _segmented(segmenter: Segmenter, name: str, view: View, tissue: TissueRegion) -> Mask:
    """Return which pixels are most probably node, and tissue."""
    number = segmenter.classes.index(name)
    mask = np.zeros(view.size_px[::-1], np.bool_)
    for band in segment_bands(
        segmenter.predict,
        view.read,
        view.size_px,
        len(segmenter.classes),
        segmenter.windows,
        wanted=tissue.touches,
    ):
        rows, columns = band.covered.shape
        seen = band.covered & tissue.inside(band.left, band.top, columns, rows)
        place = np.s_[band.top : band.top + rows, band.left : band.left + columns]
        mask[place] = seen & (band.probabilities.argmax(axis=-1) == number)
    return mask


def _drawn(job: LymphJob, view: View, entry: NodeSlide) -> Labels:
    """Return a number for each drawn node; later ones lie over earlier ones."""
    path = entry.nodes
    if path is None:
        raise _missing(view, "nodes")
    with called(entry.path, entry.slide_id):
        regions = regions_of(_read(path, view), job.node_classes)
    return drawn_nodes(regions, view.size_px[::-1], view.scale)


def _read(path: Path, view: View) -> tuple[Region, ...]:
    regions = read_regions(path)
    require_on_slide(regions, view.slide.dimensions, path)
    return regions


def _missing(view: View, what: str) -> SlideError:
    return SlideError(
        f"slide `{view.slide.name}`: no file of drawn {what} belongs to it.",
        code="ANNOTATION_MISSING",
        hint="Name one as the slide, such as S1.geojson; where there is nothing to draw, an empty "
        'one: {"type": "FeatureCollection", "features": []}.',
    )
