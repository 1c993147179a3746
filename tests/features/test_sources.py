from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.errors import TableError
from histokeras.features.extract import extract_to_folder
from histokeras.features.index import index_features
from histokeras.features.plan import Plan, plan_extraction, prepare
from histokeras.features.ready_made import tile_set_sources
from histokeras.features.store import read_features
from histokeras.features.verify import verify_folder
from histokeras.tiles.folders import read_tile_set
from histokeras.tiles.grid import TileSpec
from tests.features.conftest import FakeEngine, colour_vectors, settings_of


@pytest.fixture
def tile_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("NOR", "TUM"):
        (tmp_path / "tiles" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tiles" / label / f"{i}.png")
    return tmp_path / "tiles"


def extract_tiles(
    folder: Path, out: Path, *, size_px: int = 32, resize: bool = False,
    tile_table: Path | None = None,
) -> Plan:  # fmt: skip
    spec = TileSpec(size_px=size_px)
    table = read_tile_set([folder], tile_table=tile_table)
    sources = tile_set_sources(table, spec, resize=resize)
    plan = plan_extraction(sources, settings_of(spec, ready_made=True, resize=resize), out)
    prepare(plan)
    extract_to_folder(plan, FakeEngine)
    return plan


def test_ready_made_tiles_keep_names_and_labels(tile_folder: Path, tmp_path: Path) -> None:
    extract_tiles(tile_folder, tmp_path / "out")

    index = index_features(tmp_path / "out")

    assert index.names == ("NOR", "TUM")
    assert index.tiles is not None
    assert index.tiles["tile"].tolist()[:2] == ["NOR/0.png", "NOR/1.png"]
    assert index.own_labels()["label"].tolist() == ["NOR"] * 3 + ["TUM"] * 3
    features = read_features(tmp_path / "out/features/TUM.h5")
    image = np.asarray(Image.open(tile_folder / "TUM/2.png"))[None]
    np.testing.assert_allclose(features.vectors[2], colour_vectors(image)[0], rtol=1e-5)


def test_ready_made_tiles_have_extras_but_no_overview(tile_folder: Path, tmp_path: Path) -> None:
    Image.open(tile_folder / "NOR/1.png").save(tile_folder / "TUM/copy.png")
    (tile_folder / "NOR/0.png").write_bytes(b"no image")
    extract_tiles(tile_folder, tmp_path / "out")

    nor, tum = (read_features(tmp_path / f"out/features/{name}.h5").extras for name in
                ("NOR", "TUM"))  # fmt: skip

    assert nor is not None
    assert tum is not None
    assert nor.overview is tum.overview is None
    assert (list(nor.pictures), list(tum.pictures)) == ([0, 1], [0, 1, 2, 3])
    assert nor.pixel_hash[0] == tum.pixel_hash[3]
    np.testing.assert_array_equal(nor.floor[0], tum.floor[3])
    assert len({*nor.pixel_hash.tolist(), *tum.pixel_hash.tolist()}) == 5


def test_tiles_of_two_sizes_are_refused_or_resampled_on_demand(
    tile_folder: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tile_folder / "TUM/9.png")

    plan = extract_tiles(tile_folder, tmp_path / "a")
    assert [(row["slide"], row["code"]) for row in plan.failures] == [("TUM", "TILE_SIZE")]
    assert plan.outcomes[1]["tiles"] == 3
    assert "--tile-px 32" in plan.failures[0]["message"]
    assert sum(index_features(tmp_path / "a").n_tiles) == 6
    again = extract_tiles(tile_folder, tmp_path / "a")
    assert not again.todo
    assert again.failures == plan.failures

    plan = extract_tiles(tile_folder, tmp_path / "b", resize=True)
    assert not plan.failures
    assert sum(index_features(tmp_path / "b").n_tiles) == 7


def test_one_corrupt_tile_does_not_lose_its_class(tile_folder: Path, tmp_path: Path) -> None:
    (tile_folder / "NOR/0.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((32, 20, 3), np.uint8)).save(tile_folder / "NOR/7.png")

    plan = extract_tiles(tile_folder, tmp_path / "out")

    assert {row["slide"]: row["tiles"] for row in plan.outcomes} == {"NOR": 2, "TUM": 3}
    assert [row["code"] for row in plan.failures] == ["TILE_CORRUPT", "TILE_SIZE"]
    assert [item.status for item in verify_folder(tmp_path / "out")] == ["ok", "ok"]
    index = index_features(tmp_path / "out")
    assert index.tiles is not None
    assert index.tiles["tile"].tolist()[:2] == ["NOR/1.png", "NOR/2.png"]
    features = read_features(tmp_path / "out/features/NOR.h5")
    image = np.asarray(Image.open(tile_folder / "NOR/2.png"))[None]
    np.testing.assert_allclose(features.vectors[1], colour_vectors(image)[0], rtol=1e-5)


def test_a_corrected_tile_table_is_taken_over_without_work(
    tile_folder: Path, tmp_path: Path
) -> None:
    rows = [f"{label}/{i}.png,{label},P{i}" for label in ("NOR", "TUM") for i in range(3)]
    table = tmp_path / "tiles.csv"
    table.write_text("\n".join(["tile,label,patient_id", *rows]))
    extract_tiles(tile_folder, tmp_path / "out", tile_table=table)
    table.write_text(table.read_text().replace("NOR/1.png,NOR,P1", "NOR/1.png,TUM,P9"))

    plan = extract_tiles(tile_folder, tmp_path / "out", tile_table=table)

    assert not plan.todo
    assert plan.notes == ["NOR: labels and ids taken over from the new tile table"]
    own = index_features(tmp_path / "out").own_labels().set_index("tile")
    assert own.loc["NOR/1.png"].tolist() == ["TUM", "P9"]
    assert own.loc["NOR/0.png"].tolist() == ["NOR", "P0"]


def test_the_same_tile_in_two_files_is_refused(tile_folder: Path, tmp_path: Path) -> None:
    extract_tiles(tile_folder, tmp_path / "out")
    (tmp_path / "tiles.csv").write_text("tile,slide_id\nNOR/0.png,S1\n")
    extract_tiles(tile_folder, tmp_path / "out", tile_table=tmp_path / "tiles.csv")

    with pytest.raises(TableError, match=r"'NOR/0\.png'"):
        index_features(tmp_path / "out")


def test_a_changed_tile_is_noticed(tile_folder: Path, tmp_path: Path) -> None:
    extract_tiles(tile_folder, tmp_path / "out")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tile_folder / "TUM/1.png")

    plan = extract_tiles(tile_folder, tmp_path / "out")

    outcomes = {row["slide"]: row["outcome"] for row in plan.outcomes}
    assert outcomes == {"NOR": "skipped", "TUM": "done"}
