"""Transfer learning on H&E whole-slide images: slides, tiles, features, heads, patients.

Nothing heavy is imported here: TensorFlow comes with the first call that needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from histokeras.analysis.composition_figures import CompositionConfig
    from histokeras.analysis.composition_run import composition
    from histokeras.analysis.evaluate import evaluate_levels
    from histokeras.cohort.labels import read_cohort
    from histokeras.cohort.split import split_patients
    from histokeras.cohort.synthetic import sample_cohort
    from histokeras.data.masks import MaskCoding
    from histokeras.features.memory import extract_features
    from histokeras.features.store import FeatureSet, read_features
    from histokeras.report.page import write_report
    from histokeras.slides.reader import open_slide
    from histokeras.slides.synthetic import sample_slide
    from histokeras.tiles.cut import TileSet, cut_tiles
    from histokeras.tiles.grid import TileSpec
    from histokeras.tiles.stain import normalise_stain
    from histokeras.training.explain_run import explain
    from histokeras.training.finetune import FinetuneConfig
    from histokeras.training.finetune_api import finetune
    from histokeras.training.fit import fit_head
    from histokeras.training.head import FittedHead
    from histokeras.training.saved_run import open_run
    from histokeras.training.segmentation_config import SegmenterConfig
    from histokeras.training.segmenter import open_segmenter
    from histokeras.training.segmenter_api import fit_segmenter

_PLACES = {
    "CompositionConfig": "histokeras.analysis.composition_figures",
    "FeatureSet": "histokeras.features.store",
    "FinetuneConfig": "histokeras.training.finetune",
    "FittedHead": "histokeras.training.head",
    "MaskCoding": "histokeras.data.masks",
    "SegmenterConfig": "histokeras.training.segmentation_config",
    "TileSet": "histokeras.tiles.cut",
    "TileSpec": "histokeras.tiles.grid",
    "composition": "histokeras.analysis.composition_run",
    "cut_tiles": "histokeras.tiles.cut",
    "evaluate_levels": "histokeras.analysis.evaluate",
    "explain": "histokeras.training.explain_run",
    "extract_features": "histokeras.features.memory",
    "finetune": "histokeras.training.finetune_api",
    "fit_head": "histokeras.training.fit",
    "fit_segmenter": "histokeras.training.segmenter_api",
    "normalise_stain": "histokeras.tiles.stain",
    "open_run": "histokeras.training.saved_run",
    "open_segmenter": "histokeras.training.segmenter",
    "open_slide": "histokeras.slides.reader",
    "read_cohort": "histokeras.cohort.labels",
    "read_features": "histokeras.features.store",
    "sample_cohort": "histokeras.cohort.synthetic",
    "sample_slide": "histokeras.slides.synthetic",
    "split_patients": "histokeras.cohort.split",
    "write_report": "histokeras.report.page",
}

__all__ = [
    "CompositionConfig",
    "FeatureSet",
    "FinetuneConfig",
    "FittedHead",
    "MaskCoding",
    "SegmenterConfig",
    "TileSet",
    "TileSpec",
    "composition",
    "cut_tiles",
    "evaluate_levels",
    "explain",
    "extract_features",
    "finetune",
    "fit_head",
    "fit_segmenter",
    "normalise_stain",
    "open_run",
    "open_segmenter",
    "open_slide",
    "read_cohort",
    "read_features",
    "sample_cohort",
    "sample_slide",
    "split_patients",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'histokeras' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])
