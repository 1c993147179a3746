import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from histokeras.tiles.folders import read_tile_set
from histokeras.tissue import TISSUES


def test_the_demo_runs_the_real_commands_on_painted_slides(
    histokeras: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histokeras.cli.demo._QUICK_PX", 520)
    out = tmp_path / "my demo"

    result = histokeras("demo", "--out", out, "--quick", "--patients", 10)

    assert result.exit_code == 0, result.output
    for command in ("slides", "extract-features", "split", "fit-head"):
        assert f"$ histokeras {command}" in result.stderr
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    assert level["n"] == 10
    assert metrics["positive"] == "poorly cohesive"
    assert set(level["baselines"]) >= {"majority", "colour", "floor", "site"}
    html = (out / "run" / "report.html").read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') > 10
    truth = sorted((out / "truth").iterdir())
    assert len(truth) == len(list((out / "slides").iterdir())) == 10
    other = histokeras("demo", "--out", out, "--quick", "--patients", 10, "--seed", 1)
    assert other.exit_code == 2
    assert "not a demo of these options (seed 1, 10 patients of at most 1 slide(s) of 520 px)" in (
        other.stderr
    )
    assert "at most 2 slide(s)" in histokeras("demo", "--out", out, "--patients", 10).stderr


def test_the_demo_leaves_other_folders_alone(
    histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("mine")

    result = histokeras("demo", "--out", tmp_path)

    assert result.exit_code == 2
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_a_painted_tile_set_is_one_to_learn_from(
    histokeras: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No process for eight small classes.
    monkeypatch.setattr(
        "histokeras.cli.demo._on_all_cores",
        lambda tasks: [i for i, task in enumerate(tasks, 1) if task() is None],
    )
    out = tmp_path / "tissue"
    call = ("demo", "--out", out, "--tiles", "--tiles-per-class", 3, "--tile-px", 32)

    result = histokeras(*call, "--patients", 4)

    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    alone = read_tile_set([out])
    assert alone["label"].value_counts().to_dict() == dict.fromkeys(TISSUES, 3)
    table = read_tile_set([out], tile_table=out / "tiles.csv")
    assert table["label"].tolist() == alone["label"].tolist()
    assert set(table["mpp"]) == {"0.5"}
    assert table["patient_id"].nunique() == 3
    first = (out / "TUM" / "TUM_1.png").stat().st_mtime_ns
    assert histokeras(*call, "--patients", 4).exit_code == 0
    assert (out / "TUM" / "TUM_1.png").stat().st_mtime_ns == first
    other = histokeras(*call, "--patients", 5)
    assert other.exit_code == 2
    assert "not a demo of these options (seed 0, 3 tiles a class of 32 px, 5 pat" in other.stderr


def test_lymph_node_slides_come_with_their_outlines(
    histokeras: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "histokeras.cli.demo._on_all_cores",
        lambda tasks: [i for i, task in enumerate(tasks, 1) if task() or True],
    )
    monkeypatch.setattr("histokeras.cohort.synthetic_nodes.QUICK_DIAMETERS_MM", (0.3, 0.4))
    # Painting is tested elsewhere, and takes long.
    monkeypatch.setattr(
        "histokeras.cohort.synthetic.write_he_slide", lambda path, _: path.write_bytes(b"a slide")
    )
    out = tmp_path / "nodes"
    call = ("demo", "--out", out, "--nodes", "--quick")

    result = histokeras(*call, "--patients", 4)

    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    slides = sorted(path.stem for path in (out / "slides").iterdir())
    assert slides == sorted(path.stem for path in (out / "annotations").iterdir())
    assert slides == sorted(path.name for path in (out / "truth").iterdir())
    tables = {"slides", "pairs", "labels", "nodes_truth", "patients_truth"}
    assert {path.stem for path in out.glob("*.csv")} == tables
    assert json.loads((out / "cohort.json").read_text())["slides_with"]["touching"] == 2
    again = histokeras(*call, "--only-slides", "--patients", 4)
    assert f"Painting 0 slides of 4 invented patients in {out / 'slides'}; {len(slides)} are" in (
        again.stderr
    )
    other = histokeras(*call)
    assert other.exit_code == 2
    assert "not a demo of these options (seed 0, 12 patients with lymph nodes of 0.3-0.4 mm)" in (
        other.stderr
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--nodes", "--tiles"), "`--nodes` does not go with `--tiles`"),
        (("--nodes", "--slide-px", 512), "`--slide-px` does not go with `--nodes`"),
        (("--nodes", "--tile-px", 32), "`--tile-px` belongs to `--tiles`"),
        (("--node-mm", 2), "`--node-mm` belongs to `--nodes`"),
        (("--tiles", "--debris", 0.2), "`--debris` does not go with `--tiles`"),
        (("--tiles", "--quick"), "`--quick` does not go with `--tiles`"),
        (("--tile-px", 32), "`--tile-px` belongs to `--tiles`"),
    ],
)
def test_options_of_slides_and_of_tiles_are_not_mixed(
    given: tuple[object, ...], said: str, histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    result = histokeras("demo", "--out", tmp_path / "out", *given)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()
