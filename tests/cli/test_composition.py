import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from histokeras.analysis.composition_figures import CompositionConfig
from histokeras.analysis.composition_run import composition
from histokeras.errors import ConfigError
from histokeras.files import write_csv, write_json
from tests.analysis.composition_folders import (
    CLASSES,
    probabilities,
    slide_table,
    write_predicted,
    write_tile_run,
)

Call = Callable[..., Result]


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Two slides of P1 and one of P2, 200 tiles each."""
    rng = np.random.default_rng(0)
    slides = {name: slide_table(rng.integers(0, 3, 200)) for name in ("a", "b", "c")}
    return write_predicted(tmp_path / "pred", slides, {"a": "P1", "b": "P1", "c": "P2"})


def test_composition_writes_tables_a_page_and_a_record_once(
    predicted: Path, tmp_path: Path, histokeras: Call
) -> None:
    out = tmp_path / "out"

    first = histokeras("composition", predicted, "-o", out)
    again = histokeras("composition", predicted, "-o", out)
    other = histokeras("composition", predicted, "-o", out, "--seed", 1)
    anew = histokeras(
        "composition", predicted, "-o", out, "--block-tiles", 4, "--overwrite", "--json"
    )

    assert first.exit_code == 0, first.output
    assert first.stdout.strip() == str(out)
    patients = pd.read_csv(out / "patients.csv")
    assert patients["n_tiles"].tolist() == [400, 200]
    assert patients["n_slides"].tolist() == [2, 1]
    assert (patients["share_TUM_low"] < patients["share_TUM"]).all()
    tiles = pd.concat(pd.read_csv(predicted / "predictions" / f"{name}.csv") for name in "ab")
    assert patients["soft_TUM"].iloc[0] == pytest.approx(tiles["prob_TUM"].mean())
    assert {path.name for path in out.iterdir()} == {
        "run.json", "composition.json", "slides.csv", "patients.csv", "dropped.csv", "report.html",
    }  # fmt: skip
    assert "nothing to do" in again.output
    assert other.exit_code == 3
    assert "other options (seed)" in other.output
    assert json.loads(anew.stdout)["block_tiles"] == 4
    # 12 rows of 16 tiles and one of 8.
    assert patients["n_blocks"].tolist() == [2 * 14, 14]
    assert json.loads((out / "run.json").read_text())["status"] == "done"


def test_patients_come_from_a_table_and_are_never_invented(
    tmp_path: Path, histokeras: Call
) -> None:
    folder = write_predicted(
        tmp_path / "pred", {"a": slide_table([2] * 60), "b": slide_table([1] * 60)}
    )
    (tmp_path / "known.csv").write_text("slide_id,patient_id\na.svs,P1\nb.svs,P1\n")
    out = tmp_path / "out"

    unknown = histokeras("composition", folder, "-o", out)
    told = histokeras("composition", folder, "-o", out, "--slide-table", tmp_path / "known.csv")
    alone = histokeras("composition", folder, "-o", tmp_path / "alone", "--slides-only")

    assert unknown.exit_code == 3
    assert "patient of slide `a` is unknown" in unknown.output
    assert "--slides-only" in unknown.output
    assert told.exit_code == 0, told.output
    assert pd.read_csv(out / "patients.csv")["share_TUM"].tolist() == [0.5]
    assert alone.exit_code == 0, alone.output
    assert not (tmp_path / "alone" / "patients.csv").exists()
    assert len(pd.read_csv(tmp_path / "alone" / "slides.csv")) == 2


def test_who_was_trained_on_is_marked_and_warned_of(tmp_path: Path, histokeras: Call) -> None:
    slides = {name: slide_table([2] * 60) for name in ("a", "b")}
    folder = write_predicted(tmp_path / "pred", slides, {"a": "P1", "b": "P2"})
    (folder / "split.csv").write_text("patient_id,split\nP1,train\nP9,test\n")

    result = histokeras("composition", folder, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out" / "patients.csv", keep_default_na=False)
    assert table["split"].tolist() == ["train", ""]
    assert "1 of 2 patients took part in the training" in result.output
    metrics = json.loads((tmp_path / "out" / "composition.json").read_text())
    assert metrics["sides"] == {"new": 1, "train": 1}
    assert metrics["summary"]["train"]["share_TUM"]["n"] == 1


def ready_made(folder: Path, per_class: int = 20) -> Path:
    """A pool of ready-made tiles with as many of every label."""
    numbers = np.repeat(np.arange(3), per_class)
    probs = probabilities(numbers)
    table = pd.DataFrame({"tile": [f"{i}.png" for i in range(len(numbers))], "slide_id": "",
                          "patient_id": [f"P{i % 2}" for i in range(len(numbers))],
                          "label": np.array(CLASSES)[numbers], "split": "test"})  # fmt: skip
    table = table.assign(**{f"prob_{name}": probs[:, k] for k, name in enumerate(CLASSES)})
    (folder / "predictions").mkdir(parents=True)
    write_csv(folder / "predictions" / "tiles.csv", table)
    write_json(folder / "metrics.json", {"positive": None})
    labels = {"level": "tile", "classes": list(CLASSES)}
    write_json(folder / "run.json", {"command": "fit-head", "status": "done", "labels": labels})
    return folder


def test_ready_made_tiles_have_no_blocks_and_a_balanced_pool_is_named(
    tmp_path: Path, histokeras: Call
) -> None:
    folder = ready_made(tmp_path / "run")

    blocks = histokeras("composition", folder, "-o", tmp_path / "out")
    wilson = histokeras(
        "composition", folder, "-o", tmp_path / "out", "--interval", "wilson", "--min-tiles", 1
    )
    slides = histokeras(
        "composition", folder, "-o", tmp_path / "s", "--interval", "none", "--slides-only"
    )

    assert blocks.exit_code == 2
    assert "--interval wilson" in blocks.output
    assert wilson.exit_code == 0, wilson.output
    assert "class-balanced by design" in wilson.output
    assert pd.read_csv(tmp_path / "out" / "patients.csv")["n_tiles"].tolist() == [30, 30]
    assert "60 tiles of 2 patients." in wilson.output
    assert len(pd.read_csv(tmp_path / "out" / "slides.csv")) == 0
    assert slides.exit_code == 3
    assert "the slide of" in slides.output


def test_corrected_shares_stand_beside_the_others(
    predicted: Path, tmp_path: Path, histokeras: Call
) -> None:
    counts = [[9, 1, 0], [0, 8, 2], [0, 1, 9]]
    run = write_tile_run(tmp_path / "run", {"val": counts, "test": counts})

    result = histokeras(
        "composition", predicted, "-o", tmp_path / "out", "--correct", run, "--exclude", "LYM"
    )

    assert result.exit_code == 0, result.output
    row = pd.read_csv(tmp_path / "out" / "patients.csv").iloc[0]
    assert {"share_TUM", "corrected_TUM", "corrected_TUM_low"} <= set(row.index)
    assert row["corrected_TUM"] != row["share_TUM"]
    assert "30 val tiles" in result.output
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Corrected" in html
    assert "condition number" in html


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("value", 3, "prob_TUM"),
        ("sum", 3, "row 2: the probabilities of the classes make"),
        ("place", 3, "a place or size of a tile is no number"),
        ("missing", 3, "b.csv is missing"),
        ("bags", 3, "head of bags"),
        ("running", 3, "has not finished"),
    ],
)
def test_damaged_predictions_are_one_line(
    predicted: Path, tmp_path: Path, histokeras: Call, change: str, code: int, told: str
) -> None:
    path = predicted / "predictions" / ("a.csv" if change == "bags" else "b.csv")
    table = pd.read_csv(path, dtype=str)
    if change == "missing":
        path.unlink()
    elif change == "bags":
        write_csv(path, table.assign(attention="0.1"))
    elif change == "running":
        write_json(predicted / "run.json", {"command": "predict", "status": "running"})
    else:
        column, value = {"value": ("prob_TUM", "x"), "sum": ("prob_TUM", "0"),
                         "place": ("minx", "")}[change]  # fmt: skip
        tumour = table.index[table["prob_TUM"].astype(float) > 0.5][0]
        table = pd.concat([table.drop(index=tumour).iloc[:1], table.loc[[tumour]]])
        table.loc[tumour, column] = value
        write_csv(path, table)

    result = histokeras("composition", predicted, "-o", tmp_path / "out")

    assert result.exit_code == code, result.output
    assert told in result.output
    assert result.output.count("\n") == 1


def test_folders_of_two_classifiers_or_with_one_slide_twice_are_refused(
    predicted: Path, tmp_path: Path, histokeras: Call
) -> None:
    slides = {"d": slide_table([2] * 60)}
    more = write_predicted(tmp_path / "more", slides, {"d": "P2"}, heads=["x"])
    other = write_predicted(tmp_path / "other", slides, {"d": "P2"}, heads=["y"])

    both = histokeras("composition", predicted, more, "-o", tmp_path / "out")
    mixed = histokeras("composition", more, other, "-o", tmp_path / "x")
    twice = histokeras("composition", predicted, predicted, "-o", tmp_path / "x")
    foreign = histokeras("composition", more, "-o", predicted)

    assert both.exit_code == 0, both.output
    assert pd.read_csv(tmp_path / "out" / "patients.csv")["n_tiles"].tolist() == [400, 260]
    assert (mixed.exit_code, twice.exit_code, foreign.exit_code) == (2, 3, 2)
    assert "two classifiers" in mixed.output
    assert "stands in two folders" in twice.output
    assert "holds the output of predict" in foreign.output


def test_pseudonyms_must_be_those_of_the_predictions(
    predicted: Path, tmp_path: Path, histokeras: Call
) -> None:
    (tmp_path / "names.csv").write_text("id,pseudonym\na,S1\nb,S2\nc,S3\nP1,X1\nP2,X2\n")
    call = ("-o", tmp_path / "out", "--pseudonyms", tmp_path / "names.csv")
    renamed = write_predicted(tmp_path / "renamed", {"S1": slide_table([2] * 60)}, {"S1": "X1"})

    own = histokeras("composition", predicted, *call)
    good = histokeras("composition", renamed, *call)

    assert own.exit_code == 3
    assert "go by their own names" in own.output
    assert good.exit_code == 0, good.output


def test_python_returns_the_table(predicted: Path) -> None:
    config = CompositionConfig(interval="none")

    patients = composition(predicted, config=config)
    slides = composition([predicted], level="slide", config=config)

    assert patients["patient_id"].tolist() == ["P1", "P2"]
    assert slides["slide_id"].tolist() == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="level"):
        composition(predicted, level="tile")


def test_composition_needs_no_tensorflow(predicted: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from histokeras.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    command = ["composition", str(predicted), "-o", str(tmp_path / "out")]

    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
