from pathlib import Path

import numpy as np
import pytest

from histokeras.errors import OutputError
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import paint_slide, sample, sample_slide, write_slide
from histokeras.slides.tissue import luminance


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_slide(tmp_path / f"{name}.tiff", seed=seed, size_px=(400, 300))
    a, b, c = ((tmp_path / f"{name}.tiff").read_bytes() for name in "abc")

    assert a == b
    assert a != c


@pytest.mark.parametrize("mpp", [0.2525, 0.5015])
def test_openslide_reads_size_levels_and_mpp(tmp_path: Path, mpp: float) -> None:
    write_slide(tmp_path / "a.tiff", seed=0, size_px=(640, 320), mpp=mpp, downsamples=(2, 4))

    with open_slide(tmp_path / "a.tiff") as slide:
        assert slide.vendor == "generic-tiff"
        assert slide.level_dimensions == ((640, 320), (320, 160), (160, 80))
        assert slide.mpp == mpp


def test_glass_is_bright_and_tissue_is_not() -> None:
    image = paint_slide(seed=3, size_px=(800, 800), tissue_share=0.5)
    grey = luminance(image)

    assert grey[:60, :60].min() >= 230
    assert np.mean(grey < 220) == pytest.approx(0.5, abs=0.05)
    assert luminance(paint_slide(seed=3, size_px=(300, 300), tissue_share=0)).min() >= 220


def test_the_kinds_differ_in_architecture_not_in_colour() -> None:
    size = (1200, 1200)
    a = [paint_slide(seed=s, size_px=size, kind="a", tissue_share=1.0) for s in (0, 1)]
    b = [paint_slide(seed=s, size_px=size, kind="b", tissue_share=1.0) for s in (2, 3)]

    def colour(images: list[np.ndarray]) -> np.ndarray:
        return np.mean([image[200:-200, 200:-200].mean(axis=(0, 1)) for image in images], axis=0)

    def clumping(image: np.ndarray) -> float:
        red = image[200:-200, 200:-200, 0].astype(float)
        return float(red.reshape(8, 100, 8, 100).mean(axis=(1, 3)).std())

    assert np.abs(colour(a) - colour(b)).max() < 4
    assert min(map(clumping, b)) > 2 * max(map(clumping, a))


def test_stain_variation_changes_colours_from_slide_to_slide() -> None:
    def spread(variation: float) -> float:
        means = [
            paint_slide(
                seed=s, size_px=(300, 300), tissue_share=1.0, stain_variation=variation
            ).mean(axis=(0, 1))
            for s in range(4)
        ]
        return float(np.std(means, axis=0).max())

    assert spread(0.2) > 2 * spread(0.0)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`kind` must be one of \['a', 'b'\]. Received: kind='c'"):
        paint_slide(seed=0, kind="c")


def test_the_sample_slide_is_made_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # Smaller, and so quicker, than the real one.
    monkeypatch.setattr(sample, "_SIZE_PX", (320, 256))
    sample_slide.cache_clear()
    path = sample_slide()
    made = path.stat().st_mtime_ns
    sample_slide.cache_clear()

    assert sample_slide() == path
    assert path.parent == tmp_path / "histokeras"
    assert path.stat().st_mtime_ns == made
    with open_slide(path) as slide:
        assert slide.dimensions == (320, 256)
        assert slide.mpp == 0.5
    sample_slide.cache_clear()


def test_the_sample_slide_needs_no_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> Path:
        raise OutputError("read-only")

    monkeypatch.setattr(sample.files, "prepare_folder", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sample, "write_he_slide", lambda path, _: path.write_bytes(b"a slide"))
    sample_slide.cache_clear()

    assert sample_slide().read_bytes() == b"a slide"
    assert tmp_path in sample_slide().parents
    sample_slide.cache_clear()
