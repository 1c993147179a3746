from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import histokeras as hk
from histokeras.errors import ConfigError
from histokeras.training.loop import FitConfig
from tests.training.blobs import paint_blobs


def test_a_notebook_trains_a_network_and_segments_an_array(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image, mask = paint_blobs(number, 80)
        Image.fromarray(image).save(tmp_path / f"images/TCGA-AA-000{number}.png")
        Image.fromarray(mask * 255).save(tmp_path / f"masks/TCGA-AA-000{number}.png")
    config = hk.SegmenterConfig(
        crop_px=64, steps_per_epoch=2, fit=FitConfig(epochs=1, batch_size=2)
    )

    def fit(**options: object) -> dict:
        return hk.fit_segmenter(
            tmp_path / "images", tmp_path / "masks", tmp_path / "run", network="unet", channels=4,
            coding=hk.MaskCoding(name="blob"), config=config, **options,
        )  # fmt: skip

    metrics = fit(grey=True)
    segmenter = hk.open_segmenter(str(tmp_path / "run"))

    assert metrics["positive"] == "blob"
    assert fit(grey=True) == metrics
    assert segmenter.classes == ("background", "blob")
    written = next((tmp_path / "run" / "predictions").glob("*.png"))
    image = np.asarray(Image.open(tmp_path / "images" / written.name))
    np.testing.assert_array_equal(segmenter.segment(image), np.asarray(Image.open(written)))
    np.testing.assert_allclose(segmenter.probabilities(image).sum(axis=-1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match=r"uint8 RGB .* Received: float64"):
        segmenter.segment(image / 255)
    with pytest.raises(ConfigError, match="unet has no backbone"):
        fit(weights="imagenet")
