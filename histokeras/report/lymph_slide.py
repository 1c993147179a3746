"""``lymph-nodes`` on one slide: its nodes, the tumour inside them, numbers, maps and pictures."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage

from histokeras.analysis.lymph_nodes import measure_nodes
from histokeras.analysis.lymph_split import Labels
from histokeras.files import (
    canonical_json,
    prepare_folder,
    sha256_file,
    write_bytes,
    write_csv,
    write_text,
)
from histokeras.report.lymph_find import overview_of, slide_nodes
from histokeras.report.lymph_geojson import nodes_document
from histokeras.report.lymph_job import (
    LABELS,
    OUTLINES,
    PICTURE,
    TILES,
    TUMOUR,
    LymphJob,
    NodeSlide,
)
from histokeras.report.lymph_picture import SIDE_PX, draw_slide
from histokeras.report.lymph_tumour import Tumour, slide_tumour
from histokeras.slides.slide import Slide
from histokeras.slides.tissue_region import TissueRegion
from histokeras.slides.view import View
from histokeras.types import IGNORE

_MOST = 254


def measure_slide(
    job: LymphJob, slide: Slide, entry: NodeSlide, count: Callable[[int], None]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure the nodes of a slide and write its files.

    Args:
        job: How, and where to.
        slide: The open slide.
        entry: What is known of it.
        count: Called with the number of tiles computed.

    Returns:
        What slides.csv says of it, and its nodes as ``measure_nodes`` gives them.

    Raises:
        SlideError: If it cannot be read at a resolution, changes while it is read, has no drawing,
            or a segmenter finds no tissue on it (NO_TISSUE).
        OutputError: If a file cannot be written.
    """
    view = overview_of(job, slide)
    tissue = TissueRegion.of(view)
    labels, n_dropped = slide_nodes(job, view, entry, tissue)
    tumour = slide_tumour(job, view, entry, labels, tissue, count)
    # Before anything gets its final name.
    slide.require_unchanged()
    nodes = measure_nodes(
        labels,
        tumour.mask,
        _px_um(view),
        job.rules,
        scale=view.scale,
        cell_um=tumour.cell_um,
        probability=tumour.heat,
    ).assign(n_tiles=tumour.n_tiles)
    row = {
        "mpp": float(slide.mpp),
        "mpp_source": slide.mpp_source,
        "overview_mpp": _px_um(view),
        "width_px": view.size_px[0],
        "height_px": view.size_px[1],
        "scale": view.scale,
        "n_nodes": len(nodes),
        "n_metastatic": int(nodes["metastatic"].sum()),
        "n_dropped": n_dropped,
        **tumour.facts,
    }
    _write(job, view, labels, tumour, nodes)
    return row, nodes


def digests(job: LymphJob, slide_id: str) -> dict[str, str]:
    """Return what -> SHA-256 of the outputs of a slide that are there."""
    files = job.files(slide_id)
    return {what: sha256_file(path) for what, path in files.items() if path.is_file()}


def _px_um(view: View) -> float:
    return float(view.slide.mpp) * view.scale


def _write(job: LymphJob, view: View, labels: Labels, tumour: Tumour, nodes: pd.DataFrame) -> None:
    slide = view.slide
    files = job.files(slide.slide_id)
    write_bytes(files[LABELS], _png(labels.astype(np.uint16)))
    write_bytes(files[TUMOUR], _png(_shades(labels, tumour)))
    if tumour.tiles is not None:
        prepare_folder(files[TILES].parent)
        write_csv(files[TILES], tumour.tiles)
    document = nodes_document(
        slide.slide_id, labels, tumour.mask, nodes, scale=view.scale, mpp=_px_um(view)
    )
    write_text(files[OUTLINES], canonical_json(document) + "\n")
    thumbnail = np.asarray(slide.thumbnail(SIDE_PX))
    picture = draw_slide(
        thumbnail,
        labels,
        tumour.mask,
        tumour.heat,
        nodes,
        titles=(slide.slide_id, _says(nodes)),
        um_per_px=float(slide.mpp) * slide.dimensions[0] / thumbnail.shape[1],
        threshold=job.threshold,
        note=_note(job, view),
    )
    write_bytes(files[PICTURE], picture)


def _shades(labels: Labels, tumour: Tumour) -> npt.NDArray[np.uint8]:
    """Return the probability of tumour times 254; 255 outside nodes and where nothing was read."""
    heat = tumour.heat
    if heat is None:
        heat = tumour.mask.astype(np.float32)
    known = np.isfinite(heat) & (labels > 0)
    shades = np.rint(np.where(known, heat, 0) * np.float32(_MOST)).astype(np.uint8)
    return np.where(known, shades, np.uint8(IGNORE))


def _png(values: npt.NDArray[np.unsignedinteger[Any]]) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def _says(nodes: pd.DataFrame) -> str:
    n, metastatic = len(nodes), int(nodes["metastatic"].sum())
    return f"{n} lymph node{'s' * (n != 1)}, {metastatic} metastatic"


def _note(job: LymphJob, view: View) -> str:
    nodes = "drawn" if job.segmenter is None else "found by a segmenter"
    tumour = (
        "drawn"
        if job.scorer is None
        else f"tiles of {job.scorer.size_um:g} µm every {job.stride_um:g} µm"
    )
    return (
        f"Nodes {nodes} at {_px_um(view):.3g} µm per pixel, tumour {tumour}. For research use only."
    )
