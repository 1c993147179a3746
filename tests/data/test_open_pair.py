from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histokeras.data import open_pair as module
from histokeras.data.masks import MaskCoding
from histokeras.data.open_pair import open_pair
from histokeras.data.pair import Pair
from histokeras.data.pairs import PairSet, find_pairs
from histokeras.data.pixel_cache import PixelCache
from histokeras.errors import ConfigError, SlideError, TableError
from histokeras.types import IGNORE
from tests.data.pair_files import codes, save, save_geojson, save_pyramid, square

WIDTH, HEIGHT = 331, 237


def bands(at: tuple[int, int], axis: int) -> np.ndarray:
    """A dark band, which has no corners at which a mean and a centre could disagree."""
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    inside[(slice(None),) * axis + (slice(*at),)] = 1
    return inside


def painted(inside: np.ndarray) -> np.ndarray:
    return np.where(inside[..., None] == 1, (120, 40, 120), (250, 250, 250)).astype(np.uint8)


def pair_set(folder: Path, inside: np.ndarray, *, mpp: float = 0.25, levels: int = 1) -> PairSet:
    (folder / "images").mkdir()
    save_pyramid(folder / "images/a.tif", painted(inside), mpp, levels=levels)
    save(folder / "masks/a.png", inside)
    return find_pairs(folder / "images", folder / "masks")


@pytest.mark.parametrize("mpp", [None, 0.25, 0.5, 0.6, 0.75, 1.0, 1.25, 0.837])
@pytest.mark.parametrize(("at", "axis"), [((61, 122), 0), ((37, 200), 1)])
def test_image_and_mask_agree_to_the_pixel_at_any_scale(
    tmp_path: Path, mpp: float | None, at: tuple[int, int], axis: int
) -> None:
    found = pair_set(tmp_path, bands(at, axis))

    with open_pair(found.pairs[0], found.decoding, mpp=mpp) as pair:
        image, mask = pair.read(0, 0, *pair.size_px)
        part, part_mask = pair.read(11, 7, 40, 30)
        scale = 1.0 if mpp is None else mpp / 0.25

    assert pair.scale == pytest.approx(scale)
    assert pair.size_px == (int(WIDTH / scale + 1e-9), int(HEIGHT / scale + 1e-9))
    # A pixel that is half dark is dark: its centre lies on the border, or just inside.
    dark = image[..., 1] < 145 + 1e-9
    half = np.abs(image[..., 1].astype(int) - 145) <= 1
    np.testing.assert_array_equal(mask[~half], dark[~half].astype(np.uint8))
    assert half.sum() <= max(mask.shape)
    np.testing.assert_array_equal(part, image[7:37, 11:51])
    np.testing.assert_array_equal(part_mask, mask[7:37, 11:51])


@pytest.mark.parametrize("mpp", [0.5, 1.0, 1.25, 2.0])
def test_levels_of_a_pyramid_and_a_coarse_mask_lie_on_each_other(
    tmp_path: Path, mpp: float
) -> None:
    inside = np.kron(codes(1, (8, 12)), np.ones((32, 32), np.uint8))
    (tmp_path / "images").mkdir()
    save_pyramid(tmp_path / "images/a.tif", painted(inside), 0.25, levels=3)
    save(tmp_path / "masks/a.png", inside[::16, ::16])
    found = find_pairs(tmp_path / "images", tmp_path / "masks")

    with open_pair(found.pairs[0], found.decoding, mpp=mpp) as pair:
        image, mask = pair.read(0, 0, *pair.size_px)
        windows = [pair.read(x, 9, 25, 15)[0] for x in (3, 20)]
        counts = pair.counts(64)

    assert pair.mpp == mpp
    dark = image[..., 1] < 145
    # Where scales do not divide, pixels at a corner of squares are mixed.
    assert (dark == mask).mean() > (0.97 if mpp == 1.25 else 0.9999)
    np.testing.assert_array_equal(windows[0], image[9:24, 3:28])
    np.testing.assert_array_equal(windows[1], image[9:24, 20:45])
    assert counts.sum() == mask.size
    assert counts[..., 1].sum() == pytest.approx(mask.sum(), rel=0.05)


def test_outside_of_the_image_it_is_white_and_has_no_class(tmp_path: Path) -> None:
    found = pair_set(tmp_path, bands((0, HEIGHT), 0) * 0 + bands((0, 100), 0))

    with open_pair(found.pairs[0], found.decoding, mpp=None) as pair:
        image, mask = pair.read(-5, -3, WIDTH + 10, HEIGHT + 10)
        away, nothing = pair.read(5000, 5000, 8, 8)

    assert mask[3:-7, 5:-5].max() == 1
    frame = np.ones(mask.shape, bool)
    frame[3:-7, 5:-5] = False
    assert (mask[frame] == IGNORE).all()
    assert (image[frame] == 255).all()
    assert (nothing == IGNORE).all()
    assert (away == 255).all()


def test_counts_are_those_of_the_windows(tmp_path: Path) -> None:
    truth = codes(4, (90, 130), 3)
    save(tmp_path / "images/a.png", np.full((90, 130, 3), 200, np.uint8))
    save(tmp_path / "masks/a.png", np.where(truth == 2, 255, truth).astype(np.uint8))
    found = find_pairs(tmp_path / "images", tmp_path / "masks", coding=MaskCoding(ignore=(255,)))

    with open_pair(found.pairs[0], found.decoding, mpp=None) as pair:
        counts = pair.counts(32)
        assert counts.shape == (3, 5, 2)
        for row in range(3):
            for column in range(5):
                _, mask = pair.read(32 * column, 32 * row, 32, 32)
                expected = np.bincount(mask[mask != IGNORE], minlength=2)
                assert counts[row, column].tolist() == expected.tolist()


def test_regions_on_a_slide_are_classes_at_any_resolution(tmp_path: Path) -> None:
    save_pyramid(tmp_path / "s.tif", np.full((400, 600, 3), 230, np.uint8), 0.5, levels=2)
    save_geojson(
        tmp_path / "s.geojson",
        ("Region", [square(0, 0, 300)]),
        ("Stroma", [square(40, 40, 200), square(60, 60, 40)]),
        ("Necrosis", [square(200, 200, 60)]),
        ("Ignore*", [square(0, 0, 20)]),
    )
    plain = find_pairs(tmp_path)
    limited = find_pairs(tmp_path, coding=MaskCoding(roi="Region", group="Necrosis"))

    assert plain.classes == ("background", "Necrosis", "Region", "Stroma")
    assert limited.classes == ("rest", "Necrosis")
    with open_pair(limited.pairs[0], limited.decoding, mpp=1.0) as pair:
        _, mask = pair.read(0, 0, *pair.size_px)
        assert pair.size_px == (300, 200)
        assert np.bincount(mask.ravel(), minlength=256)[[0, 1]].tolist() == [
            150**2 - 100 - 900,
            900,
        ]
        assert pair.counts(50).sum(axis=(0, 1)).tolist() == [150**2 - 100 - 900, 900]
        _, window = pair.read(90, 90, 30, 30)
        np.testing.assert_array_equal(window, mask[90:120, 90:120])
    with open_pair(plain.pairs[0], plain.decoding, mpp=1.0) as pair:
        _, mask = pair.read(0, 0, *pair.size_px)
        assert np.bincount(mask.ravel())[[0, 1, 3]].tolist() == [
            60_000 - 150**2,
            900,
            100**2 - 400 - 20**2,
        ]


def test_drawn_classes_in_no_group_and_the_undrawn_may_be_ignored(tmp_path: Path) -> None:
    save_pyramid(tmp_path / "s.tif", np.full((64, 64, 3), 230, np.uint8), 0.5)
    path = save_geojson(
        tmp_path / "s.geojson", ("A", [square(0, 0, 10)]), ("B", [square(20, 20, 10)]),
        ("C", [square(40, 40, 10)]),
    )  # fmt: skip

    found = find_pairs(tmp_path, coding=MaskCoding(group="a=A;b=B"))

    assert found.notes == ("What nothing is drawn on is in no group, and ignored.",)
    with open_pair(found.pairs[0], found.decoding, mpp=None) as pair:
        assert pair.counts(64).ravel().tolist() == [100, 100]
    with pytest.raises(TableError, match="names the class 'D'"):
        find_pairs(tmp_path, coding=MaskCoding(group="a=A;b=D"))
    save_geojson(path, ("New", [square(0, 0, 10)]))
    with pytest.raises(TableError, match=r"s\.geojson: the class 'New' is none of"):
        open_pair(found.pairs[0], found.decoding, mpp=None)


def nodes_with_tumour(folder: Path) -> None:
    """Write a slide with a node; tumour within it and beside it is drawn later, above it."""
    save_pyramid(folder / "s.tif", np.full((200, 200, 3), 230, np.uint8), 10.0)
    save_geojson(
        folder / "s.geojson",
        ("Lymph node", [square(20, 20, 100)]), ("Tumor", [square(50, 50, 40)]),
        ("Tumor", [square(140, 140, 20)]), ("Ignore*", [square(110, 20, 10)]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("coding", "classes", "counts"),
    [
        # A hole where the tumour lies, and tumour beside the node is no node.
        ({}, ("background", "Lymph node", "Tumor"), [29_600, 8300, 2000]),
        ({"group": "Lymph node"}, ("rest", "Lymph node"), [31_600, 8300]),
        ({"group": "node=Lymph node,Tumor;rest=*"}, ("rest", "node"), [29_600, 10_300]),
        ({"only": ("Lymph node",)}, ("background", "Lymph node"), [30_000, 9900]),
        ({"only": ("Lymph node",), "group": "node=Lymph node;else=*"}, ("else", "node"),
         [30_000, 9900]),
    ],
)  # fmt: skip
def test_tumour_drawn_in_a_node_leaves_no_hole_where_nodes_alone_are_asked_for(
    coding: dict[str, object], classes: tuple[str, ...], counts: list[int], tmp_path: Path
) -> None:
    nodes_with_tumour(tmp_path)

    found = find_pairs(tmp_path, coding=MaskCoding(**coding))

    assert found.classes == classes
    with open_pair(found.pairs[0], found.decoding, mpp=None) as pair:
        assert pair.counts(64).sum(axis=(0, 1)).tolist() == counts
    over = [
        note for note in found.notes if note.startswith("Tumor is drawn over 16% of Lymph node")
    ]
    # Where both are one class, or one is not drawn, nothing is taken.
    assert len(over) == (counts[1] == 8300)
    assert (found.notes[0] == "Not drawn, as --drawn-class asks: Tumor.") == ("only" in coding)


def test_a_mask_class_that_chooses_nothing_is_asked_about(tmp_path: Path) -> None:
    nodes_with_tumour(tmp_path)

    with pytest.raises(ConfigError, match="is drawn by name beside Tumor") as caught:
        find_pairs(tmp_path, coding=MaskCoding(name="Lymph node"))
    assert "--drawn-class 'Lymph node' learns it alone" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"`--drawn-class` names the class 'node'.*Lymph node"):
        find_pairs(tmp_path, coding=MaskCoding(only=("node",)))
    # What has no class is the one that it names.
    save_geojson(tmp_path / "s.geojson", ("", [square(20, 20, 10)]), ("Tumor", [square(0, 0, 9)]),
                 ("Lymph node", [square(100, 100, 10)]))  # fmt: skip
    found = find_pairs(tmp_path, coding=MaskCoding(name="Lymph node"))
    assert found.classes == ("background", "Lymph node", "Tumor")


def test_a_region_of_interest_that_is_nowhere_is_named(tmp_path: Path) -> None:
    save_pyramid(tmp_path / "s.tif", np.full((64, 64, 3), 230, np.uint8), 0.5)
    save_geojson(tmp_path / "s.geojson", ("Tumor", [square(0, 0, 10)]))

    with pytest.raises(ValueError, match=r"`--roi` names the class 'Tumour'.*Did you mean 'Tumor'"):
        find_pairs(tmp_path, coding=MaskCoding(roi="Tumour"))
    with pytest.raises(TableError, match="holds one with a class: there is nothing to learn"):
        find_pairs(tmp_path, coding=MaskCoding(roi="Tumor"))


def test_a_resolution_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", np.full((40, 50, 3), 200, np.uint8))
    save(tmp_path / "masks/a.png", codes())
    unknown = find_pairs(tmp_path / "images", tmp_path / "masks")
    coarse = find_pairs(tmp_path / "images", tmp_path / "masks", default_mpp=1.0)

    assert unknown.pairs[0].mpp is None
    assert coarse.pairs[0].mpp == 1.0
    with pytest.raises(SlideError, match=r"does not say its resolution.*--pairs"):
        open_pair(unknown.pairs[0], unknown.decoding, mpp=0.5)
    with pytest.raises(SlideError, match="never enlarged"):
        open_pair(coarse.pairs[0], coarse.decoding, mpp=0.5)
    with open_pair(unknown.pairs[0], unknown.decoding, mpp=None) as pair:
        assert (pair.mpp, pair.size_px) == (None, (50, 40))


def test_threads_read_what_one_reads_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pair_set(tmp_path, codes(2, (HEIGHT, WIDTH)))
    opened: list[Path] = []
    whole = module.open_slide

    def counted(path: Path, **options: object) -> object:
        opened.append(Path(path))
        return whole(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_slide", counted)
    places = [(x, y) for x in range(0, 300, 37) for y in range(0, 200, 41)] * 3
    cache = PixelCache()
    with open_pair(found.pairs[0], found.decoding, mpp=0.6, cache=cache) as pair:
        alone = [pair.read(x, y, 64, 48) for x, y in places]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda at: pair.read(*at, 64, 48), places))
        assert cache.n_bytes == pair.size_px[0] * pair.size_px[1] * 3 + WIDTH * HEIGHT
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert len(opened) == 2
    assert cache.n_bytes == 0


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache = PixelCache(250)
    loads: list[str] = []

    def load(name: str, size: int = 100) -> np.ndarray:
        return cache.find(name, lambda: loads.append(name) or np.zeros(size, np.uint8))  # type: ignore[func-returns-value]

    load("a"), load("b"), load("a"), load("c"), load("a"), load("b")
    assert loads == ["a", "b", "c", "b"]
    assert load("huge", 1000).size == 1000
    assert cache.n_bytes == 1000


def test_a_picture_with_print_resolution_keeps_its_own_pixels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).save(
        tmp_path / "images/a.png", dpi=(72, 72)
    )
    save(tmp_path / "masks/a.png", codes())

    pair: Pair = find_pairs(tmp_path / "images", tmp_path / "masks").pairs[0]

    assert pair.mpp is None
