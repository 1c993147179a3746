"""``explain`` as a whole: tiles found, explained, shown or written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.cohort.pseudonyms import read_pseudonyms
from histokeras.errors import ConfigError, HistokerasError
from histokeras.files import prepare_folder, safe_name, write_bytes
from histokeras.runs.gallery import FILE, head_digests, open_gallery, write_gallery
from histokeras.runs.record import RunRecord, failure, write_failures
from histokeras.slides.inventory import read_slide_table
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.training.classifier import Classifier, open_classifier
from histokeras.training.explain import explain_tiles, require_layer, unseen_maps
from histokeras.training.explain_tiles import Chosen, Found, Search, find_tiles
from histokeras.training.explanation import Explanation, Explanations

COMMAND, TABLE = "explain", "explain.csv"
_AT_ONCE = 16
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ExplainJob:
    """What is explained, and how.

    Attributes:
        run: The run folder.
        inputs: Images of tiles, slides, or folders of either.
        class_name: The class explained; each tile's most probable one if None.
        method: One of ``METHODS``.
        layer: For grad-cam; the last map if None.
        n: Tiles at most of a folder of images, and of all slides together.
        weights: Path of the weights file, if the run used one.
        trust: SHA-256 of a whole model whose weights may be taken.
        tiles: Table that names tiles of slides by x and y.
        predictions: Folder of ``histokeras predict``, for slides that are not in the run.
        slide_table: Table with slide_id and mpp.
        default_mpp: For slides that do not tell.
        pseudonyms: Table of pseudonyms, by which outputs name slides; None for their own names.
    """

    run: Path
    inputs: Sequence[Path]
    class_name: str | None = None
    method: str = "grad-cam"
    layer: str | None = None
    n: int = 12
    weights: str | None = None
    trust: str | None = None
    tiles: Path | None = None
    predictions: Path | None = None
    slide_table: Path | None = None
    default_mpp: float | None = None
    pseudonyms: Path | None = None


@dataclass
class Explained:
    """How a job went.

    Attributes:
        rows: One a tile, as in explain.csv.
        failures: Rows of failures.csv.
        notes: Remarks for the reader.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def explain(
    run: str | Path | object,
    inputs: str | Path | Images | Sequence[str | Path],
    *,
    class_name: str | None = None,
    method: str = "grad-cam",
    layer: str | None = None,
    n: int = 12,
    weights: str | None = None,
    tiles: str | Path | None = None,
    predictions: str | Path | None = None,
) -> Explanations:
    """Show where in tiles the network of a run sees a class.

    Args:
        run: The run folder, or what ``fit_head`` returned.
        inputs: Tiles as uint8 (n, h, w, 3) or as image files; slides; folders of either. Of
            slides the most certain tiles of each class are explained.
        class_name: The class explained; each tile's most probable one if None.
        method: grad-cam, integrated-gradients, smoothgrad or occlusion.
        layer: For grad-cam; the last map before the global average if None.
        n: Tiles at most of a folder of images, and of all slides together.
        weights: Path of the weights file, if the run used one.
        tiles: Table that names tiles of slides by x and y.
        predictions: Folder of ``histokeras predict``, for slides that are not in the run.

    Returns:
        The explanations; a notebook shows them as pictures.

    Raises:
        ConfigError: If class, method or layer do not exist, or the run has no network.
        SlideError: If an input cannot be read.
        TableError: If a slide has no predictions.
        MissingError: If weights are missing.
    """
    folder = run if isinstance(run, (str, Path)) else getattr(run, "folder", None)
    if folder is None:
        raise ConfigError(
            f"`run` is a run folder, or what fit_head returned. Received: {type(run).__name__}"
        )
    classifier = open_classifier(Path(folder), weights)
    how = {"class_name": class_name, "method": method, "layer": layer}
    if isinstance(inputs, np.ndarray):
        return Explanations(
            tuple(explain_tiles(classifier, inputs, **how)),  # type: ignore[arg-type]
            notes_on(classifier, method, layer),
        )
    paths = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    job = ExplainJob(
        run=Path(folder),
        inputs=[Path(path) for path in paths],
        n=n,
        tiles=None if tiles is None else Path(tiles),
        predictions=None if predictions is None else Path(predictions),
        **how,  # type: ignore[arg-type]
    )
    names = read_pseudonyms(job.pseudonyms)
    found = _find(job, classifier, names)
    if found.failures:
        raise found.failures[0][1]
    explanations = tuple(_explained(classifier, job, found, strict=True))
    return Explanations(explanations, notes_on(classifier, method, layer, explanations))


def write_explanations(
    job: ExplainJob,
    output: Path,
    *,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
    command_line: str = "",
) -> Explained:
    """Explain tiles and write a picture of each, explain.csv, run.json and failures.csv.

    Pictures of earlier calls stay, unless ``overwrite``.

    Args:
        job: What to explain.
        output: The folder.
        overwrite: Remove what earlier calls wrote there.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.

    Raises:
        ConfigError: If class, method or layer do not exist, or the run has no network.
        FeatureError: If the folder shows another run.
        OutputError: If it cannot be written.
    """
    classifier = open_classifier(job.run, job.weights, trust=job.trust)
    heads = head_digests(job.run)
    names = read_pseudonyms(job.pseudonyms)
    found = _find(job, classifier, names)
    earlier = open_gallery(output, COMMAND, TABLE, heads, overwrite=overwrite)
    prepare_folder(output)
    record = RunRecord(COMMAND, config or {}, command_line=command_line)
    record.facts = {
        "classes": list(classifier.classes),
        "heads": heads,
        "weights": {"source": classifier.weights.label, "sha256": classifier.weights.sha256},
        "method": job.method,
    }
    record.write(output, status="running")
    done = Explained()
    counts = _Counts()
    for item in _explained(classifier, job, found):
        layer = f".{item.layer}" if item.layer else ""
        name = safe_name(f"{item.place.name}.{item.class_name}.{item.method}{layer}")
        write_bytes(output / f"{name}.png", item.picture())
        done.rows.append({FILE: f"{name}.png", **item.row()})
        counts.add(item)
    # Those of tiles that could not be read have come to it on the way.
    done.failures = [failure(name, COMMAND, error) for name, error in found.failures]
    if names is not None:
        done.failures = [
            {key: names.masked(text) for key, text in row.items()} for row in done.failures
        ]
    done.notes = (*notes_on(classifier, job.method, job.layer), *counts.notes())
    write_gallery(output, TABLE, earlier, pd.DataFrame(done.rows))
    write_failures(output, done.failures)
    record.facts["notes"] = list(done.notes)
    record.slides = _outcomes(done)
    record.write(output, status="done with failures" if done.failures else "done")
    return done


def _outcomes(done: Explained) -> list[dict[str, Any]]:
    names = [str(row["slide_id"] or row["tile"]) for row in done.rows]
    counts = {name: names.count(name) for name in names}
    outcomes = [{"slide": name, "outcome": "done", "tiles": n} for name, n in counts.items()]
    return outcomes + [{"slide": row["slide"], "outcome": "failed"} for row in done.failures]


def _find(job: ExplainJob, classifier: Classifier, names: Pseudonyms | None = None) -> Found:
    if job.class_name is not None:
        classifier.number(job.class_name)
    if job.method == "grad-cam":
        require_layer(classifier.model, job.layer)
    settings = classifier.run.settings
    search = Search(
        run=job.run,
        spec=classifier.tile_spec,
        ready_made=bool(settings.get("ready_made")),
        resize=bool(settings.get("resize")),
        classes=classifier.classes,
        class_name=job.class_name,
        n=job.n,
        tiles=job.tiles,
        predictions=job.predictions,
        table=read_slide_table(job.slide_table) if job.slide_table is not None else {},
        default_mpp=job.default_mpp,
        stain_norm=str(settings.get("stain_norm", "none")),
        pseudonyms=names,
    )
    return find_tiles(job.inputs, search)


def _explained(
    classifier: Classifier, job: ExplainJob, found: Found, *, strict: bool = False
) -> Iterator[Explanation]:
    """Yield explanations, a few tiles in memory at once; list tiles that cannot be read."""
    for start in range(0, len(found.tiles), _AT_ONCE):
        places, images = [], []
        for chosen in found.tiles[start : start + _AT_ONCE]:
            image = _read(chosen, found, strict=strict)
            if image is not None:
                places.append(chosen.place)
                images.append(image)
        if images:
            yield from explain_tiles(
                classifier,
                np.stack(images),
                class_name=job.class_name,
                method=job.method,
                layer=job.layer,
                places=places,
            )


def _read(chosen: Chosen, found: Found, *, strict: bool) -> Images | None:
    try:
        return chosen.read()
    except HistokerasError as error:
        if strict:
            raise
        found.failures.append((chosen.place.name, error))
        return None


@dataclass
class _Counts:
    """Counts what a reader must know of the tiles."""

    unclear: int = 0
    trained: int = 0

    def add(self, item: Explanation) -> None:
        self.unclear += not item.clear
        self.trained += item.place.split == "train"

    def notes(self) -> list[str]:
        found = []
        if self.unclear:
            found.append(f"{self.unclear} tile(s) hold no clear evidence for the class explained")
        if self.trained:
            found.append(f"{self.trained} tile(s) are of slides that the head was trained on")
        return found


def notes_on(
    classifier: Classifier,
    method: str,
    layer: str | None,
    tiles: Sequence[Explanation] = (),
) -> tuple[str, ...]:
    """Return what a reader of explanations must know of the run and of these tiles.

    Args:
        classifier: The network.
        method: One of ``METHODS``.
        layer: For grad-cam; the last map if None.
        tiles: The explanations.
    """
    notes = []
    if classifier.weights.kind == "random":
        notes.append("random weights know nothing of images")
    if classifier.weights.kind == "bundled":
        notes.append("mini was trained on painted tissue alone: for trials")
    heads = len(classifier.cards)
    if heads > 1:
        notes.append(
            f"the mean of {heads} heads is explained; of a slide of the run itself all but one of "
            "them were trained on it, so its probability is not that of predictions/"
        )
    if method == "grad-cam":
        shown = require_layer(classifier.model, layer)
        notes += [
            f"the features also hold the average of {name}, which the map of {shown} leaves out: "
            f"--layer {name} shows it"
            for name in unseen_maps(classifier.model, shown)
        ]
    counts = _Counts()
    for tile in tiles:
        counts.add(tile)
    return (*notes, *counts.notes())
