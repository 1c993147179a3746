"""What ``lymph-nodes`` goes by, in sentences for the person at the screen."""

from histokeras.analysis.lymph_nodes import FILL
from histokeras.report.lymph_job import LymphJob
from histokeras.slides.node_classes import tumour_names


def job_words(job: LymphJob) -> list[str]:
    """Return how nodes and tumour are found, and what counts, a line each."""
    return [_nodes(job), *_beside(job), _tumour(job), _counts(job)]


def _beside(job: LymphJob) -> list[str]:
    """Return a warning where the segmenter takes tumour in a node for something else than node."""
    classes = () if job.segmenter is None else job.segmenter.classes
    others = [name for name in tumour_names(classes) if name not in job.node_classes]
    if not others:
        return []
    return [
        f"Warning: what the segmenter takes for {', '.join(others)} is no node to it: nodes full "
        "of tumour are missed, and tumour at their border is cut off. Train it on whole nodes: "
        "fit-segmenter --drawn-class."
    ]


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(name or "(no class)" for name in names) or "none is drawn"


def _nodes(job: LymphJob) -> str:
    rules = job.rules
    how = (
        f"drawn ({_named(job.node_classes)}), each drawn object a node"
        if job.segmenter is None
        else f"of the segmenter ({_named(job.node_classes)}), touching ones "
        + ("parted at their necks" if rules.split_touching else "left joined")
        + ", holes "
        + ("filled" if rules.node_holes == FILL else "kept")
    )
    return f"Nodes: {how}, at {job.mpp:g} um per pixel; from {rules.min_node_mm2:g} mm2."


def _tumour(job: LymphJob) -> str:
    holes = f"; holes {'filled' if job.rules.tumour_holes == FILL else 'kept'}."
    if job.scorer is None:
        return f"Tumour: drawn ({_named(job.tumour_classes)}){holes}"
    scorer, stride = job.scorer, job.stride_um
    text = (
        f"Tumour: tiles of {scorer.size_um:g} um every {stride:g} um, {scorer.tile_class} above "
        f"{job.threshold:g}"
    )
    if job.reads_again:
        text += f", every {job.itc_stride_um:g} um where a node holds less than 2 mm"
    if stride > scorer.size_um:
        text += f"; {1 - (scorer.size_um / stride) ** 2:.0%} of a node is never seen"
    return text + holes


def _counts(job: LymphJob) -> str:
    cells = "count too" if job.rules.count_itc else "do not count"
    text = (
        f"Metastatic: from {job.rules.min_tumour_mm2:g} mm2 of tumour; isolated tumour cells alone "
        f"(under 0.2 mm) {cells}."
    )
    return text + ("" if job.cutoff is None else f" High T/MLN: above {job.cutoff:g}.")
