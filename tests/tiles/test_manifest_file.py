from pathlib import Path

import pandas as pd
import pytest

from histokeras.errors import TableError
from histokeras.slides.reader import open_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest_file import read_facts, read_manifest, write_manifest


@pytest.fixture
def manifest(made_slide: Path) -> pd.DataFrame:
    with open_slide(made_slide) as slide:
        return cut_tiles(slide, TileSpec(size_px=100), workers=1).manifest


def test_a_manifest_survives_writing_and_reading(manifest: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_manifest(path, manifest, {"spec": {"mpp": 0.5}})

    pd.testing.assert_frame_equal(read_manifest(path), manifest, check_dtype=False)
    facts = read_facts(path)
    assert facts["spec"] == {"mpp": 0.5}
    assert len(facts["sha256"]) == 64
    # Other tools skip one line and have a plain table.
    assert list(pd.read_csv(path, skiprows=1).columns) == list(manifest.columns)


def test_an_empty_manifest_survives_too(manifest: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_manifest(path, manifest.iloc[:0], {})

    assert len(read_manifest(path)) == 0
    assert read_facts(path)


def test_a_changed_or_unsigned_table_has_no_facts(manifest: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_manifest(path, manifest, {"spec": 1})
    path.write_text(path.read_text().replace("True", "False", 1))

    assert read_facts(path) == {}
    manifest.to_csv(path, index=False)
    assert read_facts(path) == {}
    assert len(read_manifest(path)) == len(manifest)
    assert read_facts(tmp_path / "none.csv") == {}


def test_damaged_manifests_are_named(manifest: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    manifest.assign(x="left").to_csv(path, index=False)
    with pytest.raises(TableError, match="a cell is no number"):
        read_manifest(path)
    manifest.drop(columns="kept").to_csv(path, index=False)
    with pytest.raises(TableError, match=r"lacks column\(s\) \['kept'\]"):
        read_manifest(path)
