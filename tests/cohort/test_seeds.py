import importlib.util
from pathlib import Path

from histokeras.cohort.synthetic import CohortSpec, cohort_slides

RECIPE = Path(__file__).parents[2] / "examples" / "train_mini.py"


def test_mini_never_saw_the_seeds_of_an_invented_cohort() -> None:
    spec = importlib.util.spec_from_file_location("train_mini", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    for seed in (0, 1, 9):
        slides = cohort_slides(CohortSpec(seed=seed, n_patients=60))
        assert not {slide.seed for slide in slides.values()} & set(module.TRAIN_SEEDS)
    assert len(module.TRAIN_SEEDS) >= 1000
