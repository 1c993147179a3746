import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.analysis.evaluation import evaluate_saved, write_evaluation
from histokeras.analysis.saved import open_saved
from histokeras.analysis.units import EvaluationConfig
from histokeras.errors import TableError
from histokeras.features.extras import TileExtras
from histokeras.features.index import index_features
from histokeras.features.store import read_features, write_features
from histokeras.training.duplicates import find_duplicates
from histokeras.training.fit_job import FitJob, prepare_study
from histokeras.training.fit_run import run_fit
from histokeras.training.fit_study import FitResult
from histokeras.training.head import HeadConfig
from histokeras.training.loop import FitConfig
from histokeras.training.predict_job import write_predicted
from histokeras.training.references import label_weights
from histokeras.training.rows import tile_rows
from histokeras.training.trained_run import open_run
from tests.training.conftest import write_cohort

QUICK = HeadConfig(head="linear", fit=FitConfig(epochs=15, learning_rate=0.05, patience=4))


def fitted(folder: Path, out: Path, **changes: object) -> FitResult:
    known = {"features": folder, "labels": folder / "labels.csv",
             "slide_table": folder / "slides.csv", "head": QUICK, "n_resamples": 200}  # fmt: skip
    job = FitJob(**{**known, **changes})
    result = run_fit(job, prepare_study(job), out, config={})
    assert result is not None
    return result


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("referenced"), seed=1)


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    out = tmp_path_factory.mktemp("run")
    return out, fitted(cohort, out, positive="pos")


def test_every_run_stands_beside_its_baselines(run: tuple[Path, FitResult]) -> None:
    level = run[1].metrics["splits"]["test"]["patient"]

    assert set(level["baselines"]) == {"majority", "colour", "floor", "site"}
    assert level["baselines"]["majority"]["auc"]["value"] == 0.5
    # The planted colour tells the label a little, the network's feature tells it all.
    assert 0.5 < level["baselines"]["colour"]["auc"]["value"] <= 1
    network = level["aggregations"]["mean_probability"]["auc"]["value"]
    difference = level["baselines"]["floor"]["difference"]["auc"]["value"]
    floor = level["baselines"]["floor"]["auc"]["value"]
    assert difference == pytest.approx(network - floor)
    assert "colour and texture" in level["verdict"]["text"]


def test_files_of_a_run_give_the_same_figures_again(run: tuple[Path, FitResult]) -> None:
    out, result = run
    saved = open_saved(out)
    config = EvaluationConfig(n_resamples=200, splits=("test",))

    again = evaluate_saved(saved, None, None, config=config)

    assert again.metrics["splits"]["test"] == result.metrics["splits"]["test"]
    assert again.curves == result.curves


def test_sites_are_the_same_in_a_run_its_files_and_its_label_table(
    cohort: Path, tmp_path: Path
) -> None:
    result = fitted(cohort, tmp_path / "run", folds=3)
    slides = dict(pd.read_csv(cohort / "slides.csv").itertuples(index=False))
    config = EvaluationConfig(n_resamples=200)
    saved = open_saved(tmp_path / "run")

    again = evaluate_saved(saved, None, None, config=config)
    labelled = evaluate_saved(
        saved, cohort / "labels.csv", None, slide_patients=slides, config=config
    )

    level = result.metrics["splits"]["test"]["patient"]
    assert {site: part["n"] for site, part in level["by"]["site"].items()} == dict.fromkeys(
        ("S0", "S1", "S2"), 8
    )
    for other in (again, labelled):
        found = other.metrics["splits"]["test"]
        assert found["patient"]["by"] == level["by"]
        assert "by" not in found["slide"]
    known = pd.read_csv(cohort / "labels.csv").set_index("patient_id")["site"]
    patients = pd.read_csv(tmp_path / "run" / "patients.csv").set_index("patient_id")["site"]
    assert patients.to_dict() == known.to_dict()
    (tmp_path / "run" / "patients.csv").write_bytes(b"")
    with pytest.raises(TableError, match=r"patients\.csv cannot be read"):
        evaluate_saved(saved, None, None, config=config)


def test_features_without_floor_have_no_floor_baseline_and_say_so(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "cohort", with_extras=False)

    result = fitted(folder, tmp_path / "run")

    level = result.metrics["splits"]["test"]["patient"]
    assert set(level["baselines"]) == {"majority", "site"}
    assert level["verdict"] == {
        "beaten": None,
        "text": "No floor baseline: these features carry no colour-and-texture vector.",
    }
    assert "carry no hash" in result.duplicates.note
    assert not (tmp_path / "run" / "pictures.csv").exists()


def test_colour_and_texture_are_not_compared_with_themselves(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "cohort", backbone="stain-texture")

    result = fitted(folder, tmp_path / "run")

    level = result.metrics["splits"]["test"]["patient"]
    assert set(level["baselines"]) == {"majority", "colour", "site"}
    assert level["verdict"]["beaten"] is None
    assert level["verdict"]["text"].startswith("These features are colour and texture themselves")


def test_an_external_cohort_gets_the_same_baselines(
    cohort: Path, run: tuple[Path, FitResult], tmp_path: Path
) -> None:
    other = write_cohort(tmp_path / "other", 16, seed=5)
    table = pd.read_csv(other / "slides.csv").assign(patient_id=lambda t: "X" + t["patient_id"])
    labels = pd.read_csv(other / "labels.csv").assign(patient_id=lambda t: "X" + t["patient_id"])
    labels.to_csv(tmp_path / "labels.csv", index=False)
    patients = dict(table.itertuples(index=False))
    out = tmp_path / "predictions"
    write_predicted(open_run(run[0]), other, out, slide_patients=patients, memory_gb=4,
                    config={}, run_folder=run[0])  # fmt: skip

    evaluation = evaluate_saved(
        open_saved(out), tmp_path / "labels.csv", tmp_path / "evaluation", slide_patients=patients,
        config=EvaluationConfig(n_resamples=200),
    )  # fmt: skip
    write_evaluation(tmp_path / "evaluation", evaluation, config={})

    level = evaluation.metrics["splits"]["all"]["patient"]
    assert level["n"] == 16
    # The sites of the training cohort say nothing here.
    assert set(level["baselines"]) == {"majority", "colour", "floor"}
    # Its own do.
    assert {site: part["n"] for site, part in level["by"]["site"].items()} == {
        "S0": 6, "S1": 5, "S2": 5,
    }  # fmt: skip
    written = pd.read_csv(tmp_path / "evaluation" / "patients.csv")
    assert written["site"].tolist() == labels["site"].tolist()
    assert set(level["calibration"]) == {"before", "after"}
    assert evaluation.curves["patient"]["n"] == 16
    pictures = pd.read_csv(tmp_path / "evaluation" / "pictures.csv", keep_default_na=False)
    assert set(pictures["why"]) >= {"right", "sample", "overview"}
    tiles = pictures[pictures["why"] == "right"]
    assert (tiles["label"] == tiles["predicted"]).all()
    assert all((tmp_path / "evaluation" / name).is_file() for name in pictures["file"])
    record = json.loads((tmp_path / "evaluation" / "run.json").read_text())
    assert record["external"] is True


def test_planted_duplicates_across_patients_are_all_found(cohort: Path, tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "planted", seed=1)
    files = sorted((folder / "features").iterdir())
    # Tile 2 of P00 stands again in P03 and P10; the whole slide P05_0 again as P08_0.
    copy_tiles(files, "P00_0", [2], "P03_0", [0])
    copy_tiles(files, "P00_0", [2], "P10_0", [4])
    whole = read_features(folder / "features" / "P05_0.h5")
    again = read_features(folder / "features" / "P08_0.h5")
    n = min(len(whole), len(again))
    copy_tiles(files, "P05_0", list(range(n)), "P08_0", list(range(n)))

    result = fitted(folder, tmp_path / "run")

    table = result.duplicates.table
    slides = table[table["kind"] == "slide"]
    assert slides[["slide_a", "slide_b", "how"]].to_numpy().tolist() == [
        ["P05_0", "P08_0", "same pixels"]
    ]
    tiles = table[(table["kind"] == "tile") & (table["how"] == "same pixels")]
    found = set(zip(tiles["patient_a"], tiles["patient_b"], strict=True))
    assert found == {("P00", "P03"), ("P00", "P10"), ("P05", "P08")}
    assert (tiles["patient_a"] == "P05").sum() == n
    assert fitted(cohort, tmp_path / "clean").duplicates.table.empty
    written = pd.read_csv(tmp_path / "run" / "duplicates.csv", keep_default_na=False)
    assert len(written) == len(table)


def copy_tiles(
    files: list[Path], source: str, rows: list[int], target: str, places: list[int]
) -> None:
    paths = {path.stem: path for path in files}
    given, features = read_features(paths[source]), read_features(paths[target])
    assert given.extras is not None
    assert features.extras is not None
    vectors, extras = features.vectors.copy(), features.extras
    floor, hashes = extras.floor.copy(), extras.pixel_hash.copy()
    vectors[places] = given.vectors[rows]
    floor[places] = given.extras.floor[rows]
    hashes[places] = given.extras.pixel_hash[rows]
    changed = TileExtras(floor, hashes, extras.pictures, extras.overview)
    write_features(
        paths[target],
        type(features)(vectors, features.tiles, features.backbone, features.provenance,
                       features.coords_attributes, changed),
    )  # fmt: skip


def test_empty_glass_is_no_duplicate(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path, 6, seed=1)
    for path in sorted((folder / "features").iterdir()):
        features = read_features(path)
        assert features.extras is not None
        floor, hashes = features.extras.floor.copy(), features.extras.pixel_hash.copy()
        floor[0], hashes[0] = 0, 12345
        flat = TileExtras(floor, hashes, {}, None)
        write_features(path, type(features)(features.vectors, features.tiles, features.backbone,
                                            features.provenance, features.coords_attributes,
                                            flat))  # fmt: skip
    index = index_features(folder)
    units = pd.DataFrame({"slide_id": index.names, "label": "pos", "split": "test",
                          "patient_id": [name[:3] for name in index.names]})  # fmt: skip

    rows = tile_rows(index, units, {"pos": 0})
    found = find_duplicates(index, rows)
    only_glass = find_duplicates(index, rows.where(rows.row == 0))

    assert found.table.empty
    assert only_glass.table.empty


def test_each_patient_weighs_the_same(cohort: Path) -> None:
    index = index_features(cohort)
    units = pd.DataFrame({"slide_id": index.names, "label": "pos", "split": "val",
                          "patient_id": [name[:3] for name in index.names]})  # fmt: skip
    rows = tile_rows(index, units, {"pos": 0})

    weights = label_weights(rows, "patient_id")

    patients = units["patient_id"].to_numpy()[rows.unit]
    for patient in np.unique(patients):
        assert weights[patients == patient].sum() == pytest.approx(1)
