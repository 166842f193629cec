"""Two other programs as oracles: ours is never above theirs, and equal within their own loose stop.

embo takes KL in bits inside a natural exponential: its beta is ours times ln 2, which it is given here. Of dit the
iteration itself is called: its public function starts once from an encoder whose rows do not sum to one, which wins
every time. Its stop is loose: it ends up to 1.4e-5 nat above the optimum here. embo is run to a tight one.
"""

import numpy as np
import pytest
from information_bottleneck import reference_bottleneck as reference

from ibjax.bottleneck import deterministic, solve

TABLES = {
    "binary symmetric": (reference.binary_symmetric(0.1), (1.3, 1.7, 4.0)),
    "random 8 x 2": (reference.random_table(8, 2, seed=1), (2.0, 6.0)),
    "random 6 x 2": (reference.random_table(6, 2, seed=2), (3.0, 12.0)),
}


def embo(joint, beta, alpha=1.0):
    """I(X;T), I(T;Y) and H(T) in nats; one of the peer's random starts a call, the best of ten."""
    # Importing it silences NumPy's warnings for the whole process, and its code divides by zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        core = pytest.importorskip("embo.core")
        np.random.seed(0)  # noqa: NPY002 - what it draws its starts from
        p_x, p = joint
        complexity, relevance, entropy, _ = core.InformationBottleneck.beta_iter(
            alpha, beta * np.log(2), p_x, p_x @ p, np.ascontiguousarray(p.T), len(p_x), 10, 20_000, rtol=1e-13
        )
    return np.log(2) * np.array([complexity, relevance, entropy])


def dit(joint, beta, starts=3):
    """I(X;T) - beta I(T;Y) in nats, the least of some starts near one cluster per input."""
    module = pytest.importorskip("dit.rate_distortion.blahut_arimoto")
    divergence = pytest.importorskip("dit.divergences.pmf").relative_entropy
    p_x, p = joint
    n = len(p_x)

    def distortion(p_x, q):
        mass = p_x @ q
        s = (p_x[:, None] * q).T @ p / np.where(mass > 0, mass, 1)[:, None]
        s[mass <= 0] = p_x @ p
        return np.array([[divergence(a, b) for b in s] for a in p])

    rng = np.random.default_rng(0)
    values = []
    for _ in range(starts):
        start = 0.7 * np.eye(n) + 0.3 * rng.dirichlet(np.ones(n), size=n)
        _, q = module._blahut_arimoto(p_x, beta, start, distortion, max_iters=500)
        live = q.sum(axis=0) > 1e-300
        values.append(reference.information(q[:, live]) - beta * reference.information(q[:, live].T @ p))
    return min(values)


CASES = [pytest.param(joint, beta, id=f"{name}, {beta}") for name, (joint, betas) in TABLES.items() for beta in betas]


@pytest.mark.parametrize(("joint", "beta"), CASES)
def test_embo(joint, beta):
    complexity, relevance, _ = embo(joint, beta)
    found = solve(joint, beta)
    assert found.lagrangian <= complexity - beta * relevance + 1e-9
    np.testing.assert_allclose(found.lagrangian, complexity - beta * relevance, atol=1e-9)
    np.testing.assert_allclose([found.complexity, found.relevance], [complexity, relevance], atol=1e-3)


@pytest.mark.parametrize(("joint", "beta"), CASES)
def test_embo_deterministic(joint, beta):
    _, relevance, entropy = embo(joint, beta, alpha=0.0)
    assert deterministic(joint, beta).lagrangian <= entropy - beta * relevance + 1e-12


@pytest.mark.parametrize(("joint", "beta"), CASES)
def test_dit(joint, beta):
    theirs = dit(joint, beta)
    found = solve(joint, beta)
    assert found.lagrangian <= theirs + 1e-9
    np.testing.assert_allclose(found.lagrangian, theirs, atol=3e-5)
