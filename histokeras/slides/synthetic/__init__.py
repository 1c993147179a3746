"""Procedural H&E: seeded slides and tiles whose truth is known to the pixel."""

from histokeras.slides.synthetic.layout import MASK_UM, class_map
from histokeras.slides.synthetic.node_truth import NodeTruth
from histokeras.slides.synthetic.plain import (
    KINDS,
    Architecture,
    paint_slide,
    write_pyramid,
    write_slide,
)
from histokeras.slides.synthetic.region import render_region
from histokeras.slides.synthetic.sample import sample_slide
from histokeras.slides.synthetic.spec import COMPOSITION, NodeSpec, SlideSpec
from histokeras.slides.synthetic.stains import (
    DYES,
    StainProfile,
    random_profile,
    site_profile,
    slide_profile,
    stain,
)
from histokeras.slides.synthetic.tiles import (
    CLASSES,
    GLASS,
    TissueTile,
    render_tile,
    tissue_tile,
)
from histokeras.slides.synthetic.truth import (
    SlideTruth,
    nodes_geojson,
    slide_truth,
    tumour_geojson,
    write_truth,
)
from histokeras.slides.synthetic.write import write_he_slide

__all__ = [
    "CLASSES",
    "COMPOSITION",
    "DYES",
    "GLASS",
    "KINDS",
    "MASK_UM",
    "Architecture",
    "NodeSpec",
    "NodeTruth",
    "SlideSpec",
    "SlideTruth",
    "StainProfile",
    "TissueTile",
    "class_map",
    "nodes_geojson",
    "paint_slide",
    "random_profile",
    "render_region",
    "render_tile",
    "sample_slide",
    "site_profile",
    "slide_profile",
    "slide_truth",
    "stain",
    "tissue_tile",
    "tumour_geojson",
    "write_he_slide",
    "write_pyramid",
    "write_slide",
    "write_truth",
]
