"""``predict`` as a whole: a run's own features of new slides, its head or heads, tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from histokeras.analysis.collect import Predictions
from histokeras.analysis.tables import write_tables
from histokeras.cohort.patients import PatientFinder
from histokeras.cohort.pseudonyms import require_renamed
from histokeras.cohort.tcga import Chosen, SlideChoice, choose_slides
from histokeras.errors import ConfigError, FeatureError
from histokeras.features.index import FeatureIndex, index_features
from histokeras.features.plan import Plan
from histokeras.files import prepare_folder, remove, write_bytes
from histokeras.foreign.text import read_json
from histokeras.models.model_file import read_head
from histokeras.runs.record import (
    RunRecord,
    read_record,
    require_own_folder,
    write_failures,
)
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.training.bags import bag_key_of, open_tiles
from histokeras.training.pictures import write_pictures
from histokeras.training.references import baseline_probabilities
from histokeras.training.results import Predicted, write_predictions
from histokeras.training.rows import TileRows, tile_rows
from histokeras.training.tasks import TASKS
from histokeras.training.trained_run import TrainedRun, require_fitting
from histokeras.training.vectors import Vectors
from histokeras.types import (
    ATTENTION,
    CLASSIFICATION,
    LABEL,
    PATIENT_ID,
    REGRESSION,
    SLIDE_ID,
    SPLIT,
    TILE,
)

_OUTPUTS = ("predictions", "reference", "slides.csv", "patients.csv", "split.csv", "pictures",
            "pictures.csv")  # fmt: skip


def require_own_output(run: TrainedRun, output: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that holds something else than predictions of this run.

    Raises:
        ConfigError: If it holds something else.
        FeatureError: If it holds predictions of another run (CONFIG_MISMATCH).
    """
    require_own_folder(output, ("predict", "extract-features"), _OUTPUTS)
    known = {} if overwrite else read_record(output)
    if known.get("command") == "predict" and known.get("heads") != list(run.digests):
        raise FeatureError(
            f"{output} holds predictions of another run.",
            code="CONFIG_MISMATCH",
            hint="Choose a new output folder, or give --overwrite.",
        )


def write_predicted(
    run: TrainedRun,
    features: Path,
    output: Path,
    *,
    slide_patients: Mapping[str, str],
    memory_gb: float,
    config: Mapping[str, Any],
    run_folder: Path,
    command_line: str = "",
    plan: Plan | None = None,
    chosen: Chosen | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> Predictions:
    """Predict a folder of features and write tables and record.

    Args:
        run: The run.
        features: The folder of features.
        output: Where ``predictions/``, ``slides.csv``, ``patients.csv`` and ``run.json`` go.
        slide_patients: slide_id to patient_id.
        memory_gb: Features beyond this are streamed.
        config: The resolved options, for run.json.
        run_folder: The run's folder; its split is copied, so that `evaluate` knows whom the run
            was trained on.
        command_line: What was typed, for run.json.
        plan: The extraction, if slides were extracted: only its slides are predicted.
        chosen: Of features, the slides that are not wanted.
        pseudonyms: By which the features must go; None where nothing is asked for.

    Returns:
        Slides and patients.

    Raises:
        TableError: If features go by other names than pseudonyms.
        FeatureError: If the features are of another kind than the run's.
        OutputError: If the output cannot be written.
    """
    left_out = chosen.left_out if chosen is not None else {}
    index = index_features(features, only=None if plan is None else plan.finished())
    if left_out:
        index = index_features(features, only=set(index.names) - set(left_out))
    require_renamed(index.units(), pseudonyms)
    predicted, predictions = predict_index(
        run, index, slide_patients=slide_patients, memory_gb=memory_gb
    )
    record = RunRecord("predict", config, command_line=command_line)
    record.facts = {
        "classes": list(run.classes),
        "positive": run.card.get("positive"),
        **({"task": run.task, "target": run.card["target"]} if run.task == REGRESSION else {}),
        **({"group": run.card["group"]} if run.card.get("group") else {}),
        "heads": list(run.digests),
        "head": run.card.get("training", {}),
        "features": {"settings": index.settings, "sha256": index.digest},
    }
    record.slides = [
        {"slide": name, "outcome": "done", "tiles": n}
        for name, n in zip(index.names, index.n_tiles, strict=True)
    ]
    record.slides += chosen.outcomes() if chosen is not None else []
    failures = [] if plan is None else plan.failures
    if plan is not None:
        record.slides = plan.outcomes
    prepare_folder(output)
    record.write(output, status="running")
    remove(output, _OUTPUTS)
    write_predictions(output, index, predicted)
    write_tables(output, predictions)
    write_pictures(output, index, predicted)
    write_bytes(output / "split.csv", (run_folder / "split.csv").read_bytes())
    write_failures(output, failures)
    record.write(output, status="done with failures" if failures else "done")
    return predictions


def predict_index(
    run: TrainedRun,
    index: FeatureIndex,
    *,
    slide_patients: Mapping[str, str] | None = None,
    memory_gb: float = 4.0,
) -> tuple[Predicted, Predictions]:
    """Predict every tile of some features.

    Args:
        run: The run.
        index: Features made as the run's own.
        slide_patients: slide_id to patient_id; TCGA barcodes are known without.
        memory_gb: Features beyond this are streamed.

    Returns:
        The tiles with their probabilities (or numbers); slides and patients.

    Raises:
        FeatureError: If the features are of another kind.
    """
    require_fitting(run, index.settings, where="these features were")
    if index.n_features != run.card["n_features"]:
        raise FeatureError(
            f"the head expects {run.card['n_features']} features a tile, these have "
            f"{index.n_features}.",
            code="DIM_MISMATCH",
        )
    units = index.units().copy()
    finder = PatientFinder([units], slide_patients or {})
    units[PATIENT_ID] = [
        row.get(PATIENT_ID) or finder.of_tile(row.get(TILE, ""), row[SLIDE_ID])
        for row in units.to_dict("records")
    ]
    units = units.assign(**{LABEL: "", SPLIT: ""})
    rows = tile_rows(index, units, {})
    key = bag_key_of(run.card)
    vectors = open_tiles(index, rows, memory_gb=memory_gb, bag_key=key)
    parts = [_of_head(folder, vectors, index, rows) for folder in run.folders]
    keras.backend.clear_session()
    names = [name for name in parts[0] if all(name in part for part in parts)]
    means = {name: _mean([part[name] for part in parts]) for name in names}
    own = means.pop(names[0])
    attention = means.pop(ATTENTION, None)
    predicted = Predicted(rows, own, run.outputs, means, task=run.task, attention=attention)
    return predicted, predicted.collect(keep_tiles=False)


def _of_head(folder: Path, vectors: Vectors, index: FeatureIndex, rows: TileRows) -> dict[str, Any]:
    """Return what one head says, its own word first, and what its baselines say."""
    model, card = read_head(folder)
    task = TASKS[str(card.get("task", CLASSIFICATION))]
    found = dict(task.read(model, card).scores(vectors))
    path = folder / "baselines.json"
    if path.is_file():
        baselines = task.read_baselines(read_json(path))
        # Tumour types and sites of the training cohort say nothing of another one.
        found |= baseline_probabilities(baselines, index, rows, {})
    return found


def _mean(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.mean(parts, axis=0, dtype=np.float64).astype("f4")


def choose_features(features: Path, choice: SlideChoice) -> tuple[Chosen, int]:
    """Find out which slides of a folder of features are not wanted.

    Args:
        features: The folder of features.
        choice: Which TCGA slides are wanted.

    Returns:
        The slides that are not, and how many slides there are.

    Raises:
        FeatureError: If there are no features.
        SlideError: NO_SLIDES if none is wanted.
    """
    names = index_features(features).names if choice.text else ()
    return choose_slides(names, choice), len(names)


def is_feature_input(inputs: Sequence[Path]) -> bool:
    """Tell whether the inputs are features: one ``.h5`` file, or one folder that holds some.

    Raises:
        ConfigError: If features and slides are mixed, or there are several feature folders.
    """
    found = [
        path.suffix == ".h5"
        or (path.is_dir() and (any(path.glob("features/*.h5")) or any(path.glob("*.h5"))))
        for path in inputs
    ]
    if not any(found):
        return False
    if len(inputs) > 1:
        raise ConfigError("give slides, or one folder of features, but not both or several.")
    return True
