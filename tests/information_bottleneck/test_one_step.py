"""One-step betas: the published formula minimised by brute force, optimal encoders, hard ones, and bad input."""

import jax.numpy as jnp
import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference
from scipy.optimize import minimize_scalar

from ibjax.bottleneck import against_bound, curve, encoder_information, one_step_beta, solve
from ibjax.errors import InputError

DIRECTIONS = ("bound_to_layer", "layer_to_bound")


def divergence(joint, encoder, b, direction):
    """As printed, with a loop over the inputs."""
    p_x, p = joint
    p_t = p_x @ encoder
    decoder = (p_x[:, None] * encoder).T @ p / p_t[:, None]
    q = p_t * np.exp(-b * reference.kl(p, decoder))
    q /= q.sum(axis=1, keepdims=True)
    total = 0.0
    for x in range(len(p_x)):
        of, to = (q[x], encoder[x]) if direction == "bound_to_layer" else (encoder[x], q[x])
        mass = of > 0
        with np.errstate(divide="ignore"):
            total += p_x[x] * (of[mass] * (np.log(of[mass]) - np.log(to[mass]))).sum()
    return total


def brute_force(joint, encoder, direction):
    grid = np.geomspace(1e-3, 100, 400)
    i = int(np.argmin([divergence(joint, encoder, b, direction) for b in grid]))
    bounds = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    found = minimize_scalar(
        lambda b: divergence(joint, encoder, b, direction), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    return found.x, found.fun


def soft_encoder(n, clusters, seed=0, sharpness=1.0):
    p = np.exp(sharpness * np.random.default_rng(seed).normal(size=(n, clusters)))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("labels", "sharpness"), [(2, 0.5), (2, 3.0), (4, 1.0), (3, 3.0)])
def test_brute_force(labels, sharpness, direction):
    joint = reference.random_table(9, labels, labels)
    encoder = soft_encoder(9, 5, labels, sharpness)
    found = one_step_beta(joint, encoder, direction=direction)
    beta, least = brute_force(joint, encoder, direction)
    np.testing.assert_allclose(found.beta, beta, rtol=1e-5)
    np.testing.assert_allclose(found.divergence, least, rtol=1e-9)
    np.testing.assert_allclose(found.divergence, divergence(joint, encoder, found.beta, direction), rtol=1e-9)
    assert not found.censored
    assert found.beta.shape == found.divergence.shape == found.censored.shape == ()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_optimal_encoder_has_its_own_beta(direction):
    joint = reference.random_table(9, 2, 5)
    for beta in (3.0, 7.3, 20.0):
        best = solve(joint, beta, tolerance=1e-12)
        found = one_step_beta(joint, best.encoder, direction=direction)
        np.testing.assert_allclose(found.beta, beta, rtol=1e-4)
        assert 0 <= found.divergence < 1e-8


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("q", [0.02, 0.3])
def test_binary_symmetric_source(q, direction):
    """A bit flipped with q is its own one-step encoder at ln((1 - q) / q) over the difference of divergences."""
    p = 0.1
    noise = p + q - 2 * p * q
    far = (1 - 2 * p) * np.log((1 - noise) / noise)
    found = one_step_beta(
        reference.binary_symmetric(p), np.array([[1 - q, q], [q, 1 - q]]), direction=direction, beta_max=1e3
    )
    np.testing.assert_allclose(found.beta, np.log((1 - q) / q) / far, rtol=1e-9)
    np.testing.assert_allclose(found.divergence, 0, atol=1e-14)


@pytest.mark.slow
def test_one_step_gains_no_more_than_there_is_to_gain():
    joint = reference.random_table(9, 2, 5)
    encoders = np.stack([soft_encoder(9, 5, seed, 4.0) for seed in range(8)])
    found = one_step_beta(joint, encoders, direction="layer_to_bound")
    bound = against_bound(curve(joint, [1.0, 2.0, 8.0]), *encoder_information(joint, encoders))
    assert (found.divergence <= bound.lagrangian_gap + 1e-12).all()
    assert (found.divergence > 0.5 * bound.lagrangian_gap).all()


def test_the_way_to_the_bound_is_finite_of_hard_layers():
    """Two inputs each of two clusters; where every input has the cluster nearest to it, there is no beta."""
    p_x = np.full(4, 0.25)
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.1, 0.9]])
    near, crossed = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 1, 0, 1]]
    found = one_step_beta((p_x, p), np.stack([near, crossed]), direction="layer_to_bound")
    np.testing.assert_array_equal(found.censored, [True, False])
    assert found.beta[0] == np.inf
    beta, least = brute_force((p_x, p), crossed, "layer_to_bound")
    np.testing.assert_allclose([found.beta[1], found.divergence[1]], [beta, least], rtol=1e-6)


def test_all_of_the_input_is_censored():
    joint = reference.random_table(6, 3)
    found = one_step_beta(joint, np.eye(6), direction="layer_to_bound")
    assert found.beta == np.inf
    assert found.censored
    smooth = 0.999999 * np.eye(6) + 0.000001 / 6
    assert one_step_beta(joint, smooth, direction="layer_to_bound", beta_max=2.0).censored
    assert one_step_beta(joint, smooth, direction="bound_to_layer", beta_max=2.0).censored


def test_what_rounding_hides_is_censored():
    """The beta of a bit flipped with 1e-200 is 262, and from 25 on the published divergence changes no more."""
    joint, encoder = reference.binary_symmetric(0.1), np.array([[1 - 1e-200, 1e-200], [1e-200, 1 - 1e-200]])
    found = one_step_beta(joint, encoder, direction="bound_to_layer", beta_max=1e3)
    assert found.beta == np.inf
    assert found.censored
    # The other one compares the small probabilities themselves.
    found = one_step_beta(joint, encoder, direction="layer_to_bound", beta_max=1e3)
    np.testing.assert_allclose(found.beta, 200 * np.log(10) / (0.8 * np.log(9)), rtol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_layer_that_tells_nothing_has_no_beta(direction):
    joint = reference.random_table(6, 3)
    for encoder in (np.ones((6, 1)), np.full((6, 2), 0.5)):
        found = one_step_beta(joint, encoder, direction=direction)
        assert np.isnan(found.beta)
        assert not found.censored
        np.testing.assert_allclose(found.divergence, 0, atol=1e-15)
    # Independent of Y, and yet of some complexity: p(y|x) is the same for x = 0 and 1, which alone T tells apart.
    joint = np.array([0.25, 0.25, 0.5]), np.array([[0.3, 0.7], [0.3, 0.7], [0.8, 0.2]])
    encoder = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    found = one_step_beta(joint, encoder, direction=direction)
    assert np.isnan(found.beta)
    np.testing.assert_allclose(found.divergence, divergence(joint, encoder, 1.0, direction), rtol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_labels_that_some_inputs_never_have(direction):
    p_x, p = np.array([0.2, 0.3, 0.5]), np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]])
    # Only the cluster that the layer gives it has all labels of an input: of the others q is 0.
    encoder = np.array([[0.7, 0.3], [0.4, 0.6], [1e-12, 1 - 1e-12]])
    found = one_step_beta((p_x, p), encoder, direction=direction)
    beta, least = brute_force((p_x, p), encoder, direction)
    np.testing.assert_allclose([found.beta, found.divergence], [beta, least], rtol=1e-5)
    hard = one_step_beta((p_x, p), np.eye(2)[[0, 0, 1]], direction="layer_to_bound")
    assert np.isfinite(hard.divergence)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_names_and_copies_change_nothing(direction):
    p_x, p = joint = reference.random_table(7, 3, 2)
    encoder = soft_encoder(7, 4, 1, 2.0)
    expected = one_step_beta(joint, encoder, direction=direction)

    def same(p_x, p, encoder):
        found = one_step_beta((p_x, p), encoder, direction=direction)
        np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-9)

    rng = np.random.default_rng(0)
    x, t, y = rng.permutation(7), rng.permutation(4), rng.permutation(3)
    same(p_x[x], p[x][:, y], encoder[x][:, t])
    # Inputs twice, an input without mass, a cluster in two equal parts, and one that is never used.
    same(
        np.concatenate([p_x * 0.25, [0.0], p_x * 0.75]),
        np.concatenate([p, np.full((1, 3), np.nan), p]),
        np.concatenate([encoder, np.full((1, 4), np.nan), encoder]),
    )
    same(p_x, p, np.concatenate([encoder[:, :1] * 0.3, encoder[:, :1] * 0.7, encoder[:, 1:], np.zeros((7, 1))], axis=1))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_equal_inputs_that_the_layer_tells_apart(direction):
    """Merging is exact also where the encoder differs on inputs that say the same of Y."""
    p_x, p = reference.random_table(4, 2, 1)
    joint = np.repeat(p_x, 2) / 2, np.repeat(p, 2, axis=0)
    encoder = soft_encoder(8, 3, 3)
    found = one_step_beta(joint, encoder, direction=direction)
    beta, least = brute_force(joint, encoder, direction)
    np.testing.assert_allclose([found.beta, found.divergence], [beta, least], rtol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_many_layers_and_blocks_of_inputs(direction, monkeypatch):
    joint = reference.random_table(7, 3, 2)
    encoders = np.stack([soft_encoder(7, 4, seed) for seed in range(6)]).reshape(2, 3, 7, 4)
    found = one_step_beta(joint, jnp.asarray(encoders, jnp.float32), direction=direction)
    assert found.beta.shape == (2, 3)
    assert found.beta.dtype == np.float64
    monkeypatch.setattr("ibjax.bottleneck.one_step.CELLS", 10)
    for i in np.ndindex(2, 3):
        one = one_step_beta(joint, encoders[i], direction=direction)
        np.testing.assert_allclose([found.beta[i], found.divergence[i]], one[:2], rtol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "settings", "message"),
    [
        (np.eye(2), {}, r"encoder\[0, 1\] is 0, so that the divergence is infinite: add the layer's noise"),
        (np.eye(2), {"direction": "both"}, "unknown direction 'both'"),
        (np.eye(2), {"direction": "layer_to_bound", "beta_max": 0.0}, "beta_max is 0"),
        (np.eye(2), {"direction": "layer_to_bound", "beta_max": np.inf}, "beta_max is inf"),
        (np.eye(3), {"direction": "layer_to_bound"}, "one row an input"),
        ([[0.5, 0.6], [0.5, 0.5]], {}, r"encoder\[0\] sums to 1.1"),
    ],
)
def test_bad_input(unchecked, encoder, settings, message):
    with pytest.raises(InputError, match=message):
        one_step_beta(reference.binary_symmetric(0.1), encoder, **settings)
