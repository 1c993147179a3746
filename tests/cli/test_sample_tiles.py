import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.folders import read_tile_set
from tests.data.pair_files import save_geojson, square

SMALL = ("--tile-px", 64, "--stride", 16, "--per-slide", 4)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sample-tiles", *(str(item) for item in arguments)])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slides of four patients: a node with tumour, tumour outside; b1 holds no tumour."""
    lab = tmp_path_factory.mktemp("lab")
    for name in ("slides", "drawn", "predictions/predictions"):
        (lab / name).mkdir(parents=True)
    rows = []
    for number, name in enumerate(("a1", "b1", "c1", "d1")):
        pixels = np.random.default_rng(number).integers(100, 200, (512, 512, 3)).astype(np.uint8)
        write_pyramid(lab / f"slides/{name}.tiff", pixels, mpp=0.5, downsamples=(4,), lossless=True)
        tumour = [("Tumor", [square(128, 128, 128)]), ("Tumor", [square(448, 448, 64)])]
        node = ("Lymph node", [square(64, 64, 320)])
        save_geojson(lab / f"drawn/{name}.geojson", node, *(tumour if name != "b1" else []))
        grid = [(x, y, 64, 64, x / 512) for y in range(0, 449, 64) for x in range(0, 449, 64)]
        table = pd.DataFrame(grid, columns=["minx", "miny", "width", "height", "prob_tumour"])
        table["prob_normal"] = 1 - table["prob_tumour"]
        table.to_csv(lab / f"predictions/predictions/{name}.csv", index=False)
        rows.append((name, f"p-{name[0]}"))
    pd.DataFrame(rows, columns=["slide_id", "patient_id"]).to_csv(lab / "slides.csv", index=False)
    sides = {"p-a": "train", "p-b": "train", "p-c": "val", "p-d": "test"}
    pd.DataFrame(sides.items(), columns=["patient_id", "split"]).to_csv(
        lab / "split.csv", index=False
    )
    return lab


def given(lab: Path, output: Path, *more: object) -> tuple[object, ...]:
    known = ("--annotations", lab / "drawn", "--slide-table", lab / "slides.csv", "-o", output)
    return (lab / "slides", *known, *SMALL, *more)


def test_tiles_are_written_with_their_labels_and_the_same_command_resumes(
    lab: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    first = call(*given(lab, output))

    assert first.exit_code == 0, first.output
    table = pd.read_csv(output / "tiles.csv")
    counts = table.groupby(["slide_id", "label"]).size().unstack(fill_value=0)
    assert counts["normal"].tolist() == [4] * 4
    assert counts["tumour"].tolist() == [4, 0, 4, 4]
    # Only in the node, of which the middle of a tile is a part.
    assert table[["x", "y"]].to_numpy().min() >= 32
    assert table[["x", "y"]].to_numpy().max() < 384 - 32
    assert (table.loc[table["label"] == "tumour", "share"] >= 0.5).all()
    tiles = read_tile_set([output], tile_table=output / "tiles.csv")
    assert len(tiles) == len(table)
    assert set(tiles["patient_id"]) == {"p-a", "p-b", "p-c", "p-d"}
    assert set(tiles["mpp"]) == {"0.5"}
    assert "no patient is known" not in first.output

    lost = output / table["tile"].iloc[0]
    bytes_before = lost.read_bytes()
    lost.unlink()
    kept = output / table["tile"].iloc[-1]
    written = kept.stat().st_mtime_ns
    again = call(*given(lab, output))

    assert again.exit_code == 0, again.output
    assert again.output.count("skipped") == 3
    assert lost.read_bytes() == bytes_before
    assert kept.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(pd.read_csv(output / "tiles.csv"), table)
    other = call(*given(lab, output, "--seed", 1))
    assert other.exit_code == 2
    assert "drawn with other seed" in other.output
    anew = call(*given(lab, output, "--seed", 1, "--overwrite"))
    assert anew.exit_code == 0, anew.output
    # What was drawn before with another seed is no tile of this set.
    pictures = sorted(p.relative_to(output).as_posix() for p in output.glob("images/*/*.png"))
    assert pictures == sorted(pd.read_csv(output / "tiles.csv")["tile"])


def test_hard_tiles_come_of_train_patients_alone(lab: Path, tmp_path: Path) -> None:
    plain, output = tmp_path / "plain", tmp_path / "out"
    call(*given(lab, plain))

    result = call(
        *given(lab, output, "--hard-from", lab / "predictions", "--split", lab / "split.csv",
               "--hard", 3)
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    table = pd.read_csv(output / "tiles.csv")
    hard = table[table["hard"] == 1]
    assert hard.groupby("slide_id").size().to_dict() == {"a1": 3, "b1": 3}
    assert (hard["label"] == "normal").all()
    # The surest lie rightmost, and the last column whose middle lies in the node begins at 320.
    assert hard["prob"].max() == 320 / 512
    drawn_before = pd.read_csv(plain / "tiles.csv")
    assert table.loc[table["hard"] == 0, "tile"].tolist() == drawn_before["tile"].tolist()
    assert "6 hard" in result.output
    # Which class stood for tumour decides which tiles these are.
    other = call(
        *given(lab, output, "--hard-from", lab / "predictions", "--split", lab / "split.csv",
               "--hard", 3, "--hard-class", "normal")
    )  # fmt: skip
    assert other.exit_code == 2
    assert "drawn with other hard_column" in other.output


def test_tiles_of_a_slide_that_fails_now_are_in_no_table(lab: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in ("a1", "b1", "c1", "d1"):
        (drawn / f"{name}.geojson").write_bytes((lab / f"drawn/{name}.geojson").read_bytes())
    call(*given(lab, tmp_path / "out"), "--annotations", drawn)
    # Its drawing was wrong, and the new one is damaged.
    (drawn / "a1.geojson").write_text("{")

    for shard in ("0/2", "1/2"):
        result = call(*given(lab, tmp_path / "out"), "--annotations", drawn, "--shard", shard)
        assert result.exit_code == (4 if shard == "0/2" else 0), result.output

    assert set(pd.read_csv(tmp_path / "out/tiles.csv")["slide_id"]) == {"b1", "c1", "d1"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--hard-from", "{lab}/predictions"), 2, "belong together"),
        (("--hard-from", "{lab}/predictions", "--split", "{tmp}/leak.csv"), 3, "two sides"),
        (("--hard-from", "{lab}/predictions", "--split", "{tmp}/folds.csv"), 2, "this one is of"),
        (("--hard-from", "{lab}/drawn", "--split", "{lab}/split.csv"), 3, "holds no predictions"),
        (("--hard-from", "{lab}/predictions", "--split", "{lab}/split.csv", "--hard-class", "x"),
         2, "no telling which class of the predictions"),
        (("--tumour-class", "Tumour"), 2, "which nothing is drawn as"),
        (("--normal-share", 0.6), 2, "below min_share"),
    ],
)  # fmt: skip
def test_slips_are_told_in_one_line(
    options: tuple[object, ...], code: int, message: str, lab: Path, tmp_path: Path
) -> None:
    (tmp_path / "leak.csv").write_text("patient_id,split\np-a,train\np-a,test\np-b,val\n")
    (tmp_path / "folds.csv").write_text("patient_id,fold\np-a,0\np-b,1\np-c,2\n")
    filled = [str(item).format(lab=lab, tmp=tmp_path) for item in options]

    result = call(*given(lab, tmp_path / "out", *filled))

    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out/tiles.csv").exists()


def test_a_slide_without_its_regions_stops_nobody(lab: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in ("a1", "c1"):
        (drawn / f"{name}.geojson").write_bytes((lab / f"drawn/{name}.geojson").read_bytes())
    (drawn / "b1.geojson").write_text("{")
    save_geojson(drawn / "d1.geojson", ("Tumor", [square(9000, 0, 512)]))

    result = call(*given(lab, tmp_path / "out"), "--annotations", drawn, "--inside", "*")

    assert result.exit_code == 4, result.output
    failures = pd.read_csv(tmp_path / "out/failures.csv")
    assert failures[["slide", "code"]].to_numpy().tolist() == [
        ["b1", "ANNOTATION_UNREADABLE"], ["d1", "ANNOTATION_OUTSIDE"],
    ]  # fmt: skip
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["settings"]["within"] is None
    assert set(pd.read_csv(tmp_path / "out/tiles.csv")["slide_id"]) == {"a1", "c1"}


def test_a_folder_a_patient_and_nodes_of_another_folder(lab: Path, tmp_path: Path) -> None:
    for name in ("drawn", "nodes", "slides/p1", "slides/p2"):
        (tmp_path / name).mkdir(parents=True)
    for patient, name in (("p1", "a1"), ("p2", "b1")):
        (tmp_path / f"slides/{patient}/{name}.tiff").symlink_to(lab / f"slides/{name}.tiff")
        tumour = [[256.0, 0.0], [512.0, 0.0], [512.0, 512.0], [256.0, 512.0]]
        drawn = {"positive": [{"name": "x", "vertices": tumour}], "negative": []}
        (tmp_path / f"drawn/{name}.json").write_text(json.dumps(drawn))
        save_geojson(tmp_path / f"nodes/{name}.geojson", ("LN", [square(0, 0, 512)]))
    known = ("--annotations", tmp_path / "drawn", *SMALL)

    result = call(tmp_path / "slides", *known, "--nodes", tmp_path / "nodes", "-o", tmp_path / "a")
    unknown = call(lab / "slides/a1.tiff", *known, "-o", tmp_path / "b")

    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "a/tiles.csv")
    assert set(zip(table["slide_id"], table["patient_id"], strict=True)) == {
        ("a1", "p1"), ("b1", "p2"),
    }  # fmt: skip
    settings = json.loads((tmp_path / "a/run.json").read_text())["settings"]
    assert (settings["tumour"], settings["within"]) == ([""], ["LN"])
    # Half of a tile that begins at 224 is tumour.
    assert (table.loc[table["label"] == "tumour", "x"] >= 224).all()
    assert (table.loc[table["label"] == "normal", "x"] <= 192).all()
    assert unknown.exit_code == 0, unknown.output
    assert "of 1 of 1 slide(s) no patient is known" in unknown.output
    assert json.loads((tmp_path / "b/run.json").read_text())["settings"]["within"] is None
