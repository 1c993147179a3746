import numpy as np
import pytest

from histokeras.data.places import Places, cell_px_of, draw_crops, fixed_windows


def places_of(mask: np.ndarray, n_classes: int = 2) -> Places:
    height, width = mask.shape
    cell = cell_px_of((width, height))
    counts = np.zeros((-(-height // cell), -(-width // cell), n_classes), np.int64)
    for number in range(n_classes):
        rows, columns = np.nonzero(mask == number)
        np.add.at(counts, (rows // cell, columns // cell, number), 1)
    return Places((width, height), cell, counts)


def test_half_of_the_crops_lie_around_a_class_however_rare_it_is() -> None:
    mask = np.zeros((640, 640), np.uint8)
    mask[600:616, 32:48] = 1
    places = places_of(mask)
    rng = np.random.default_rng(0)

    crops = np.array([places.draw(64, rng) for _ in range(400)])

    x, y = crops.T
    holds = (x < 48) & (x + 64 > 32) & (y < 616) & (y + 64 > 600)
    # Half go by class, half of these by this one; by chance alone 2 in 100 would see it.
    assert 0.2 < holds.mean() < 0.35
    assert crops.min() >= 0
    assert crops.max() <= 640 - 64


def test_nothing_is_drawn_where_nothing_is_labelled() -> None:
    mask = np.full((320, 320), 255, np.uint8)
    mask[:64, 256:] = 1
    places = places_of(mask)
    rng = np.random.default_rng(0)

    crops = np.array([places.draw(32, rng) for _ in range(100)])

    assert crops[:, 0].min() >= 240
    assert crops[:, 1].max() < 64


def test_an_image_smaller_than_a_crop_lies_in_its_middle() -> None:
    places = places_of(np.zeros((48, 100), np.uint8))

    assert [places.draw(64, np.random.default_rng(0))[1] for _ in range(3)] == [-8] * 3
    np.testing.assert_array_equal(places.windows(64)[:, 1:], [[-8, 0, 0], [-8, 28, 0]])


@pytest.mark.parametrize(("width", "height"), [(64, 64), (150, 70), (129, 200), (30, 500)])
def test_windows_count_each_pixel_once(width: int, height: int) -> None:
    seen = np.zeros((height, width), int)

    for x, y, skip_x, skip_y in places_of(np.zeros((height, width), np.uint8)).windows(64):
        own = np.s_[max(0, y + skip_y) : max(0, y + 64), max(0, x + skip_x) : max(0, x + 64)]
        seen[own] += 1

    assert (seen == 1).all()


def test_an_epoch_is_drawn_evenly_over_patients_and_by_its_own_number_alone() -> None:
    places = [places_of(np.zeros((96, 96), np.uint8)) for _ in range(5)]
    patients = np.array([0, 0, 0, 0, 1])

    def drawn(epoch: int) -> np.ndarray:
        rng = np.random.default_rng((0, epoch))
        return draw_crops(places, patients, 64, 40, rng, n_open=64)

    first = drawn(0)
    assert np.bincount(patients[first[:, 0]]).tolist() == [20, 20]
    assert len(np.unique(first[:, 0])) == 5
    np.testing.assert_array_equal(drawn(0), first)
    assert not np.array_equal(drawn(1), first)


def test_few_images_are_needed_open_at_a_time() -> None:
    places = [places_of(np.zeros((96, 96), np.uint8)) for _ in range(12)]

    crops = draw_crops(places, np.arange(12), 64, 120, np.random.default_rng(0), n_open=4)

    groups = [set(crops[start : start + 20, 0]) for start in range(0, 120, 20)]
    assert all(len(group) == 2 for group in groups)
    assert set.union(*groups) == set(range(12))


def test_a_sample_of_windows_is_even_over_images_and_always_the_same() -> None:
    places = [places_of(np.zeros((640, 640), np.uint8)), places_of(np.zeros((96, 96), np.uint8))]

    windows = fixed_windows(places, 32, 12, seed=3)

    assert np.bincount(windows[:, 0]).tolist() == [6, 6]
    np.testing.assert_array_equal(fixed_windows(places, 32, 12, seed=3), windows)
    assert len(fixed_windows(places, 32, 1000, seed=3)) == 400 + 9


def test_a_sample_of_windows_holds_a_class_however_rare_it_is() -> None:
    mask = np.zeros((1600, 1600), np.uint8)
    mask[800:832, 640:704] = 1
    places = [places_of(mask), places_of(np.zeros((1600, 1600), np.uint8))]

    windows = fixed_windows(places, 32, 64, seed=0)

    _, x, y, _, _ = windows.T
    # Two of 5000 windows hold it: both are looked at; by chance 1 sample in 40 would have one.
    assert ((x < 704) & (x + 32 > 640) & (y == 800) & (windows[:, 0] == 0)).sum() == 2
    assert len(np.unique(windows, axis=0)) == 64
