import io

import numpy as np
import pytest
from PIL import Image

from histokeras.cohort.synthetic_tiles import TileSetSpec, paint_tile, tile_set_table
from histokeras.tissue import TISSUES

SMALL = TileSetSpec(n_per_class=5, n_patients=4, size_px=32)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_tile_is_the_same_every_time_and_unlike_all_others() -> None:
    which = [(kind, number) for kind in ("TUM", "STR") for number in (0, 4)]

    tiles = {(kind, number): paint_tile(SMALL, kind, number) for kind, number in which}

    assert paint_tile(SMALL, "TUM", 4) == tiles["TUM", 4]
    assert len(set(tiles.values())) == 4
    other = TileSetSpec(seed=1, n_per_class=5, n_patients=4, size_px=32)
    assert paint_tile(other, "TUM", 4) != tiles["TUM", 4]
    assert pixels(tiles["TUM", 4]).shape == (32, 32, 3)


def test_patients_have_tiles_of_every_class() -> None:
    table = tile_set_table(SMALL)

    counts = table.groupby(["patient_id", "label"]).size().unstack()
    assert counts.columns.tolist() == list(TISSUES)
    # Five tiles dealt to four patients in turn.
    assert counts.to_numpy().tolist() == [[2] * 8, [1] * 8, [1] * 8, [1] * 8]
    assert table["mpp"].unique().tolist() == [0.5]


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("n_per_class", 0), ("size_px", 8)])
def test_a_spec_out_of_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        TileSetSpec(**{name: value})
