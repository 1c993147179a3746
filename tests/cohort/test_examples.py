import tomllib
from pathlib import Path

from histokeras.cohort.examples import EXAMPLES, example_text, write_examples
from histokeras.cohort.join import join_labels
from histokeras.cohort.labels import read_cohort
from histokeras.cohort.split import split_patients
from histokeras.tables import read_table


def test_the_example_tables_go_through_the_whole_cohort_work(tmp_path: Path) -> None:
    written, kept = write_examples(tmp_path / "study")
    labels, slides, tiles, _ = written
    cohort = read_cohort(labels)
    slide_table = read_table(slides)

    joined = join_labels(
        slide_table[["slide_id"]],
        cohort,
        slide_patients=dict(zip(slide_table["slide_id"], slide_table["patient_id"], strict=True)),
    )

    assert kept == []
    assert [path.name for path in written] == list(EXAMPLES)
    assert set(joined.funnel.values()) == {16}
    assert len(joined.dropped) == 0
    assert len(joined.units) > 16
    assert set(split_patients(cohort, stratify=["site"]).sides().values()) == {
        "train",
        "val",
        "test",
    }
    tile_cohort = read_cohort(tiles)
    assert tile_cohort.level == "tile"
    assert set(tile_cohort.table["slide_id"]) <= set(slide_table["slide_id"])
    assert split_patients(tile_cohort).unit == "patient_id"


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")

    written, kept = write_examples(tmp_path)

    assert kept == [tmp_path / "labels.csv"]
    assert (tmp_path / "labels.csv").read_text() == "mine"
    assert len(written) == 3


def test_the_example_config_fits_the_example_tables() -> None:
    config = tomllib.loads(example_text("histokeras.toml"))

    assert list(config) == ["split", "extract-features", "fit-head"]
    assert config["split"]["labels"] in EXAMPLES
    assert config["extract-features"]["slide-table"] in EXAMPLES
    assert config["fit-head"]["split"] == config["split"]["output"]
