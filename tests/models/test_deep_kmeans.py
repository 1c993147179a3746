import numpy as np
import pytest
from keras import ops

from histokeras.models.deep_kmeans import (
    annealed_alphas,
    build_deep_kmeans,
    kmeans_terms,
    soft_assignments,
)

TILES = np.array([[0, 0], [1, 0]], "float32")
TWO = np.array([[0, 0], [2, 0]], "float32")


# By hand: squared distances are [[0, 4], [1, 1]]; the second tile costs 1 at any temperature, the
# first 4 / (1 + exp(4 alpha)).
@pytest.mark.parametrize(("alpha", "term"), [(0.1, 1.302625), (1, 0.535972), (1000, 0.5)])
def test_the_kmeans_term_is_what_the_equation_gives(alpha: float, term: float) -> None:
    terms = ops.convert_to_numpy(kmeans_terms(TILES, TWO, alpha))

    np.testing.assert_allclose(terms.mean(), term, atol=1e-6)
    np.testing.assert_allclose(
        terms[0], 4 / (1 + np.exp(min(4 * alpha, 700))), rtol=1e-5, atol=1e-9
    )


def test_assignments_stay_finite_far_from_every_centre() -> None:
    shares = ops.convert_to_numpy(soft_assignments(np.array([[1e6, 2e6]], "float32"), 1000.0))

    np.testing.assert_array_equal(shares, [[1, 0]])


def test_the_alphas_are_those_of_the_spec() -> None:
    alphas = annealed_alphas(40)

    np.testing.assert_allclose(alphas[:5], [0.1, 0.4232, 0.7516, 1.078, 1.4087], atol=1e-4)
    assert len(alphas) == 40
    assert alphas[-1] == pytest.approx(28.133, abs=1e-3)


def test_the_network_gives_both_losses_of_each_tile() -> None:
    mean, scale = np.array([1, 2, 3], "float32"), np.array([1, 0.5, 2], "float32")
    model = build_deep_kmeans(3, 2, hidden=(5, 4), mean=mean, scale=scale)
    for name in ("decoded", "embedding"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * 0, bias * 0])
    model.get_layer("centres").centres.assign([[3, 4], [30, 40]])

    losses = model(np.array([[2, 2, 2]], "float32"))

    # Standardised (1, 0, -2), decoded 0; embedded 0, whose nearest centre is 5 away.
    np.testing.assert_allclose(losses["reconstruction"], [5], rtol=1e-4)
    np.testing.assert_allclose(losses["centres"], [25], rtol=1e-6)
    names = [layer.name for layer in model.layers if "coder_" in layer.name]
    assert names == ["encoder_0", "encoder_1", "decoder_0", "decoder_1"]
    assert [model.get_layer(name).units for name in names] == [5, 4, 4, 5]
    with pytest.raises(ValueError, match="n_clusters=1"):
        build_deep_kmeans(3, 1)
