import numpy as np
import pytest

from histokeras.slides import outlines
from histokeras.slides.outlines import trace, without_specks
from histokeras.slides.synthetic.contours import area


def _mask():
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 5:25] = 1
    mask[10:15, 10:16] = 0
    mask[20, 20] = 0
    mask[30, 50] = 1
    mask[0:3, 40:60] = 2
    mask[35:, :] = 255
    return mask


def test_areas_are_traced_with_their_holes_and_without_specks():
    found = trace(_mask(), 4, (1, 2), least_px=2 * 16)
    assert found.factor == 4
    (rings,) = found.areas[1]
    # 20 x 20 pixels of four; the hole of 30 stays, that of one pixel is filled.
    assert [area(ring) for ring in rings] == [400 * 16, -30 * 16]
    assert rings[0].min() == 20
    assert rings[0].max() == 100
    (border,) = found.areas[2]
    assert [area(ring) for ring in border] == [60 * 16]


def test_without_a_least_size_every_pixel_counts():
    mask = _mask() == 1
    np.testing.assert_array_equal(without_specks(mask, 0), mask)
    np.testing.assert_array_equal(without_specks(mask, 1), mask)
    assert not without_specks(mask, 500).any()
    assert without_specks(np.ones((3, 3), bool), 1).all()


def test_masks_of_very_many_borders_are_shrunk(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8)
    noise[:, 32:] = 1
    assert trace(noise, 1, (1,), least_px=0).factor == 1
    monkeypatch.setattr(outlines, "_MOST_SIDES", 100)
    found = trace(noise, 1, (1,), least_px=0)
    assert found.factor > 1
    sizes = [area(ring) for rings in found.areas[1] for ring in rings]
    assert sum(sizes) == pytest.approx((noise == 1).sum(), rel=0.35)
