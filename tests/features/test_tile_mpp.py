import numpy as np
import pandas as pd
import pytest

from histokeras.errors import ConfigError, TableError
from histokeras.features.tile_mpp import one_mpp, seen_mpp, with_mpp


def tiles(*mpp: str) -> pd.DataFrame:
    return pd.DataFrame({"tile": [f"{i}.png" for i in range(len(mpp))], "mpp": mpp})


def test_what_is_told_fills_what_the_table_leaves_open() -> None:
    assert with_mpp(tiles("", "0.5"), 0.5)["mpp"].tolist() == ["0.5", "0.5"]
    assert with_mpp(tiles("", "0.5"), None)["mpp"].tolist() == ["", "0.5"]


def test_a_table_that_says_otherwise_or_nonsense_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"says 0\.5 um per pixel, the tile table 0\.25"):
        with_mpp(tiles("", "0.25"), 0.5)
    for text in ("fine", "500", "-1", "nan"):
        with pytest.raises(TableError, match=rf"tile `1\.png`.*Received: '{text}'"):
            with_mpp(tiles("0.5", text), None)


def test_a_tile_that_was_enlarged_is_seen_at_a_finer_resolution() -> None:
    manifest = pd.DataFrame({"mpp": ["0.5", "0.5", ""], "size_px": ["299"] * 3,
                             "source_px": ["224", "299", "224"]})  # fmt: skip

    seen = seen_mpp(manifest)

    # 224 px of 0.5 um are 112 um, and so are 299 px of 0.3746 um.
    np.testing.assert_allclose(seen, [112 / 299, 0.5, np.nan])
    assert np.isnan(seen_mpp(manifest.drop(columns="mpp"))).all()


def test_one_resolution_needs_all_tiles_to_share_it() -> None:
    assert one_mpp(pd.Series([0.5, 0.5, 0.51])) == 0.5
    assert one_mpp(pd.Series([0.5, 0.25])) is None
    assert one_mpp(pd.Series([0.5, np.nan])) is None
    assert one_mpp(pd.Series([], dtype=float)) is None
