from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histokeras.errors import ConfigError, TableError
from histokeras.slides.annotations import Drawing, Region
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.sample import Sample, sample_tiles
from histokeras.tiles.sample_places import SampleSpec

SIZE, STEP, SIDE = 64, 32, 640
TUMOUR, NODE, GLASS_X = (128, 384), (64, 576), 512
SPEC = SampleSpec(size_px=SIZE, stride_um=STEP * 0.5, per_slide=10_000, max_normal=0.0)


def square(low: float, high: float) -> Drawing:
    ring = np.array([[low, low], [high, low], [high, high], [low, high]], float)
    return Drawing((Region("x", (ring,)),), (1,))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue on the left, glass on the right; red tells x / 4, green y / 4."""
    pixels = np.full((SIDE, SIDE, 3), 250, np.uint8)
    y, x = np.mgrid[:SIDE, :GLASS_X]
    pixels[:, :GLASS_X] = np.dstack([x // 4, y // 4, np.full_like(x, 150)])
    path = tmp_path_factory.mktemp("slide") / "s.tiff"
    write_pyramid(path, pixels, mpp=0.5, downsamples=(4,), lossless=True)
    return path


def drawn(
    path: Path, spec: SampleSpec = SPEC, within: Drawing | None = None, **more: object
) -> Sample:
    with open_slide(path) as slide:
        return sample_tiles(slide, spec, square(*TUMOUR), within, workers=2, **more)


def covered(start: int) -> int:
    """Pixels of a tile's side that lie in the tumour."""
    return max(0, min(start + SIZE, TUMOUR[1]) - max(start, TUMOUR[0]))


def test_labels_are_those_of_the_drawn_square(path: Path) -> None:
    images: dict[tuple[int, int], np.ndarray] = {}

    def keep(x: int, y: int, label: str, image: np.ndarray) -> None:
        images[x, y] = image

    table = drawn(path, within=square(*NODE), on_tile=keep).table

    expected = {}
    for y in range(0, SIDE - SIZE + 1, STEP):
        for x in range(0, SIDE - SIZE + 1, STEP):
            inside = all(NODE[0] <= start + SIZE / 2 < NODE[1] for start in (x, y))
            share = covered(x) * covered(y) / SIZE**2
            # At 480 half of a tile is glass, from 512 on all of it.
            if inside and x < GLASS_X and (share == 0 or share >= 0.5):
                expected[x, y] = ("tumour" if share else "normal", share)
    found = {(row.x, row.y): (row.label, row.share) for row in table.itertuples()}
    assert {at: label for at, (label, _) in found.items()} == {
        at: label for at, (label, _) in expected.items()
    }
    assert [found[at][1] for at in found] == pytest.approx([expected[at][1] for at in found])
    # By hand: half in at its side, a quarter at its corner, the last middle inside the node.
    assert found[96, 192][0] == "tumour"
    assert (96, 96) not in found
    assert found[64, 192][0] == "normal"
    assert (32, 32) in found
    assert (0, 32) not in found
    assert (table["size_level0_px"] == SIZE).all()
    assert images.keys() == found.keys()
    assert images[96, 192][0, 0].tolist() == [24, 48, 150]


def test_shares_between_are_left_out_as_asked(path: Path) -> None:
    strict = drawn(path, SampleSpec(**{**vars(SPEC), "min_share": 1.0})).table
    loose = drawn(path, SampleSpec(**{**vars(SPEC), "max_normal": 0.25})).table

    # Whole tiles at 128, 160, ..., 320 in both directions.
    assert (strict["label"] == "tumour").sum() == 49
    corners = loose[(loose["share"] > 0) & (loose["label"] == "normal")]
    assert sorted(zip(corners["x"], corners["y"], strict=True)) == [
        (96, 96), (96, 352), (352, 96), (352, 352),
    ]  # fmt: skip


def test_all_that_is_not_tumour_is_normal_unless_said_otherwise(path: Path) -> None:
    table = drawn(path, SampleSpec(**{**vars(SPEC), "max_normal": None})).table

    assert ((table["share"] < 0.5) == (table["label"] == "normal")).all()
    assert table["share"].between(0.01, 0.49).any()


def test_a_part_of_the_tiles_lies_on_the_border(path: Path) -> None:
    few = SampleSpec(**{**vars(SPEC), "max_normal": None, "per_slide": 5, "border": 0.6})
    none = SampleSpec(**{**vars(few), "border": 0.0})

    def between(spec: SampleSpec) -> dict[str, int]:
        table = drawn(path, spec).table
        assert table["label"].value_counts().to_dict() == {"tumour": 5, "normal": 5}
        counts = table["label"][(table["share"] > 0) & (table["share"] < 1)].value_counts()
        return {label: int(counts.get(label, 0)) for label in ("tumour", "normal")}

    # Of five three at least, more by chance; of normal tiles four corners alone lie there.
    assert all(count >= 3 for count in between(few).values())
    assert between(SampleSpec(**{**vars(few), "border": 1.0})) == {"tumour": 5, "normal": 4}
    assert between(none)["normal"] < 3


def test_the_same_seed_draws_the_same_tiles(path: Path) -> None:
    few = SampleSpec(**{**vars(SPEC), "per_slide": 5})
    first, again = drawn(path, few).table, drawn(path, few).table
    other = drawn(path, SampleSpec(**{**vars(few), "seed": 1})).table

    pd.testing.assert_frame_equal(first, again)
    assert first["label"].value_counts().to_dict() == {"tumour": 5, "normal": 5}
    assert set(zip(first["x"], first["y"], strict=True)) != set(
        zip(other["x"], other["y"], strict=True)
    )
    with open_slide(path, slide_id="another") as slide:
        named = sample_tiles(slide, few, square(*TUMOUR)).table
    assert not named.equals(first)


def test_hard_tiles_are_the_surest_normal_ones_that_lie_apart(path: Path) -> None:
    spec = SampleSpec(**{**vars(SPEC), "per_slide": 1, "hard": 3, "seed": 3})
    known = drawn(path, spec).table
    normal = known[known["label"] == "normal"].iloc[0]
    places = [
        (0.99, 200, 200), (0.98, 400, 400), (0.97, 420, 410), (0.96, normal["x"], normal["y"]),
        (0.95, 560, 10), (0.9, 400, 464), (0.5, 10, 500), (0.4, 5, 5),
    ]  # fmt: skip
    suspects = pd.DataFrame(
        [(x, y, SIZE, SIZE, prob) for prob, x, y in reversed(places)],
        columns=["minx", "miny", "width", "height", "prob"],
    )

    table = drawn(path, spec, suspects=suspects).table

    hard = table[table["hard"] == 1].sort_values("prob", ascending=False)
    # Left out: tumour, what lies over another, what is drawn already, glass.
    assert hard[["x", "y", "prob", "label"]].to_numpy().tolist() == [
        [400, 400, 0.98, "normal"], [400, 464, 0.9, "normal"], [10, 500, 0.5, "normal"],
    ]  # fmt: skip
    pd.testing.assert_frame_equal(table[table["hard"] == 0].reset_index(drop=True), known)
    with pytest.raises(TableError, match="predicted in tiles of 64 um, and tiles of 32 um"):
        drawn(path, spec, suspects=suspects.assign(width=128, height=128))


def test_what_erases_is_normal_again(path: Path) -> None:
    whole, hole = square(*TUMOUR).regions[0], square(192, 320).regions[0]
    with open_slide(path) as slide:
        tumour = Drawing((whole, Region("", hole.polygon, erases=True)), (1, 0))
        table = sample_tiles(slide, SPEC, tumour).table

    labels = {(row.x, row.y): row.label for row in table.itertuples()}
    assert labels[224, 224] == "normal"
    assert labels[128, 128] == "tumour"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_share": 0.0}, "`min_share` is a fraction, above 0"),
        ({"max_normal": 0.5}, "`max_normal` is 0 or more, below min_share"),
        ({"stride_um": 0}, "`stride_um` is above 0"),
        ({"size_px": 4}, "`size_px` is 8 to 8192"),
    ],
)
def test_impossible_samples_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SampleSpec(**change)
