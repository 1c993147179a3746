import numpy as np
import pytest

from histokeras.errors import ConfigError
from histokeras.models.rates import PolyRate


def test_a_poly_rate_rises_and_falls_to_nothing() -> None:
    rate = PolyRate(0.1, 10, power=0.5, warmup_steps=2)

    found = [float(PolyRate.from_config(rate.get_config())(step)) for step in (0, 1, 2, 8, 10, 99)]

    # Of 8 falling steps, 0, 6 and 8 are done: sqrt(1), sqrt(1/4), 0.
    np.testing.assert_allclose(found, [0.05, 0.1, 0.1, 0.05, 0, 0], rtol=1e-6)
    assert float(PolyRate(1.0, 4)(1)) == pytest.approx(0.75**0.9)


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(ConfigError, match="`rate` must be above 0"):
        PolyRate(0, 10)
    with pytest.raises(ConfigError, match=r"`warmup_steps` must lie in 0\.\.9"):
        PolyRate(0.1, 10, warmup_steps=10)
