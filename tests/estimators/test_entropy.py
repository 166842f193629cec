"""Entropy of counts: every correction against its paper's formula, hand-computed values and other implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimators.reference_plugin import ENTROPIES, nsb
from scipy import optimize
from scipy.special import digamma

from ibjax.errors import InputError
from ibjax.estimators import CORRECTIONS, discrete_entropy
from ibjax.estimators.entropy import CELLS_AT_LEAST

LN2, GAMMA = np.log(2), np.euler_gamma


# Its programs take seconds to compile; what it gives is tested by itself.
QUICK = [pytest.param(name, marks=pytest.mark.slow) if name == "nsb" else name for name in CORRECTIONS]


def entropy(counts, correction="none", **settings):
    """In double precision."""
    with jax.enable_x64(True):
        return np.asarray(discrete_entropy(np.asarray(counts), correction, **settings))


COUNTS = {
    "one sample": [1, 0, 0, 0],
    "one cell": [5, 0, 0],
    "two samples": [1, 1],
    "only singletons": [1] * 12,
    "one singleton, no pair": [4, 3, 1, 0],
    "singletons and pairs": [7, 1, 1, 2, 2, 0, 1, 3],
    "no singleton": [4, 2, 2, 6],
    "neither": [3, 5, 9],
    "uniform": [6, 6, 6, 6],
    "seven": [7],
    "skew": [900, 40, 30, 5, 1, 1, 1, 2, 0, 0, 0, 0],
    "poisson": np.random.default_rng(0).poisson(1.5, 200),
    "zipf": np.random.default_rng(0).multinomial(500, 1 / np.arange(1, 301) / (1 / np.arange(1, 301)).sum()),
}


@pytest.mark.parametrize("correction", ENTROPIES)
def test_every_correction_is_its_papers(correction):
    # In one batch, filled up with zeros: one program.
    wide = max(map(len, COUNTS.values()))
    cases = [np.array(counts) for counts in COUNTS.values()]
    if correction == "shrinkage":  # it depends on the alphabet
        found = [entropy(counts, correction) for counts in cases]
    else:
        found = entropy([np.pad(counts, (0, wide - len(counts))) for counts in cases], correction)
    expected = [ENTROPIES[correction](counts, len(counts)) for counts in cases]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


HAND = {
    # p = 1/2, 1/4, 1/8, 1/8.
    ("none", (4, 2, 1, 1)): 1.75 * LN2,
    ("miller-madow", (4, 2, 1, 1)): 1.75 * LN2 + 3 / 16,
    # G(1) = -gamma - ln 2, G(2) = G(3) = G(1) + 2, G(4) = G(2) + 2/3.
    ("grassberger", (1, 1)): 2 * LN2 + GAMMA,
    ("grassberger", (2, 2)): np.log(4) + LN2 + GAMMA - 2,
    ("grassberger", (4, 3)): np.log(7) + LN2 + GAMMA - (4 * (2 + 2 / 3) + 3 * 2) / 7,
    # Coverage 1/2, q = 1/4 twice: each 1/4 ln 4 / (1 - (3/4)^2).
    ("chao-shen", (1, 1)): 2 * 0.25 * np.log(4) / (7 / 16),
    # Coverage 2/3; q = 4/9 and 2/9.
    ("chao-shen", (2, 1)): 4 / 9 * np.log(9 / 4) / (1 - (5 / 9) ** 3) + 2 / 9 * np.log(9 / 2) / (1 - (7 / 9) ** 3),
    # No pair and one singleton: A = 1, nothing unseen; 3/4 (1/3) + 1/4 (1 + 1/2 + 1/3).
    ("chao-wang-jost", (3, 1)): 3 / 4 * (1 / 3) + 1 / 4 * (1 + 1 / 2 + 1 / 3),
    # f1 = f2 = 1, n = 3: A = 2 / (2 + 2) = 1/2; unseen 1/3 * 4 (ln 2 - 1/2 - 1/8).
    ("chao-wang-jost", (2, 1)): 2 / 3 / 2 + (1 + 1 / 2) / 3 + 4 / 3 * (LN2 - 5 / 8),
    # sum p^2 = 5/8, distance 1/8, weight (3/8) / (3/8) = 1: uniform.
    ("shrinkage", (3, 1)): LN2,
    # sum p^2 = 17/25, distance 9/50, weight (8/25) / (4 * 9/50) = 4/9; p = 5/9 * (4/5, 1/5) + 2/9 = (2/3, 1/3).
    ("shrinkage", (4, 1)): np.log(3) - 2 / 3 * LN2,
}


@pytest.mark.parametrize(("correction", "counts"), HAND)
def test_values_by_hand(correction, counts):
    np.testing.assert_allclose(entropy(counts, correction), HAND[correction, counts], rtol=1e-13)


@pytest.mark.parametrize(
    ("correction", "theirs"),
    [
        ("none", "discrete"),
        ("miller-madow", "miller_madow"),
        ("chao-shen", "chao_shen"),
        ("chao-wang-jost", "chao_wang_jost"),
        ("shrinkage", "shrink"),
    ],
)
def test_infomeasure_agrees(correction, theirs):
    """Its "grassberger" is the estimator of 1988; its "nsb" weights the likelihood's terms by their counts."""
    infomeasure = pytest.importorskip("infomeasure")
    for name in ["singletons and pairs", "skew", "zipf"]:
        counts = np.array(COUNTS[name])
        counts = counts[counts > 0]
        data = np.repeat(np.arange(len(counts)), counts)
        expected = infomeasure.entropy(data, approach=theirs, base="e")
        # Its sum of Chao, Wang & Jost cancels.
        np.testing.assert_allclose(entropy(counts, correction), expected, rtol=1e-9)


def test_grassberger_is_unbiased_for_a_poisson_cell():
    """What G was made for: sum_c Poisson(c; z) c G(c) = z ln z, to exp(-2 z)."""
    c, z, n = np.arange(1, 100), 8.0, 100
    # With c samples in one cell and n - c alone, read G(c) off the estimate.
    g1 = -GAMMA - LN2
    values = entropy(np.stack([[k] + [1] * (n - k) + [0] * k for k in c]), "grassberger")
    g = (n * (np.log(n) - values) - (n - c) * g1) / c
    poisson = np.exp(c * np.log(z) - z - np.cumsum(np.log(c)))
    np.testing.assert_allclose((poisson * c * g).sum(), z * np.log(z), atol=2 * np.exp(-2 * z) * z)


@pytest.mark.slow
def test_unseen_symbols_of_large_samples():
    """Where the published formula has lost all digits."""
    mp = pytest.importorskip("mpmath")
    counts = [10**7 - 400] + [1] * 200 + [2] * 100
    with mp.workdps(60):
        n, f1, f2 = sum(counts), 200, 100
        a = mp.mpf(2 * f2) / ((n - 1) * f1 + 2 * f2)
        seen = sum(c * (mp.digamma(n) - mp.digamma(c)) for c in counts) / n
        # Ten parts a sample size wide, then nothing is left.
        unseen = mp.quad(lambda s: (1 - a) * mp.e ** (-n * s) / (1 - (1 - a) * mp.e**-s), mp.linspace(0, 100 / n, 11))
        expected = float(seen + f1 / mp.mpf(n) * unseen)
    np.testing.assert_allclose(entropy(counts, "chao-wang-jost"), expected, rtol=1e-10)


# --- NSB ---------------------------------------------------------------------------------------------------


def nsb_entropy(counts, size):
    """Counts filled up with zeros, so that all of these tests share one program."""
    return entropy(np.pad(counts, (0, 100 - len(counts))), "nsb", alphabet=size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 4, 1000, 10**6, 10**12])
def test_nsb_of_one_sample_is_half_the_largest_entropy(size):
    """One sample says nothing about beta, and the prior mean of a flat prior on 0 .. ln K is ln K / 2."""
    np.testing.assert_allclose(nsb_entropy([1], size), np.log(size) / 2, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "size"), [((5, 0, 0), 4), ((7, 1, 1, 2, 2, 1, 3), 12), ((50, 50, 48), 3)])
def test_nsb_is_mpmaths(counts, size):
    pytest.importorskip("mpmath")
    np.testing.assert_allclose(nsb_entropy(counts, size), nsb(np.array(counts), size), rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ([1] * 10, 10, 2.22723515102367),
        ([1] * 100, 10**6, 11.5431639564679),  # no coincidence
        ([10**6] * 3, 3, 1.09861197972436),  # a plateau of 14 in ln beta
        ([10**7] * 2, 2, 0.693147155566693),
        ([1000] * 100, 100, 4.60516018626317),
        ([10**9, 1], 2, 2.29899313540655e-08),
        ([10**9], 10**6, 9.91746335800249e-10),
        ([3, 1], 2, 0.563470186066088),
    ],
)
def test_nsb_of_extreme_counts(counts, size, expected):
    """The numbers are `reference_plugin.nsb`'s with 1100 nodes, which agree with those of 700 nodes to 29 digits."""
    np.testing.assert_allclose(nsb_entropy(counts, size), expected, rtol=1e-12, atol=1e-13)


def test_nsb_is_what_another_implementation_publishes():
    """The example of the first releases of `ndd`, in Fortran with another quadrature.

    Its later example, 100 symbols, is 5e-6 below ours and mpmath's.
    """
    counts = [7, 3, 5, 8, 9, 1, 3, 3, 1, 0, 2, 5, 2, 11, 4, 23, 5, 0, 8, 0]
    np.testing.assert_allclose(nsb_entropy(counts, len(counts)), 2.623634344902917, rtol=1e-9)


@pytest.mark.slow
def test_nsb_of_many_samples_is_miller_madow():
    """For n >> K a prior with beta of about 1 leaves little but the (K - 1) / 2n of every plug-in."""
    counts = np.random.default_rng(0).multinomial(10**7, np.random.default_rng(1).dirichlet(np.ones(50)))
    assert abs(entropy(counts, "nsb") - entropy(counts, "miller-madow")) < 0.2 * 49 / (2 * 10**7)


@pytest.mark.slow
def test_nsb_has_a_sharp_posterior_too():
    """Thousands of different counts: the posterior of ln beta is 0.02 wide and far from the search's ends."""
    p = np.random.default_rng(0).dirichlet(np.full(4000, 0.7))
    counts = np.random.default_rng(1).multinomial(10**8, p)
    assert abs(entropy(counts, "nsb") - -(p * np.log(p)).sum()) < 1e-3


@pytest.mark.slow
def test_nsb_is_unbiased_over_its_prior():
    """A posterior mean's errors average to zero if the truth is drawn from the prior; the plug-in's do not."""
    rng = np.random.default_rng(0)
    size, n, draws = 60, 25, 400
    truth, counts = [], []
    for xi in rng.uniform(0, np.log(size), draws):

        def mean_entropy(v, xi=xi):
            return digamma(size * np.exp(v) + 1) - digamma(np.exp(v) + 1) - xi

        gamma = rng.gamma(np.exp(optimize.brentq(mean_entropy, -30, 30)), size=size) + 1e-300
        p = gamma / gamma.sum()
        truth.append(-(p * np.log(p)).sum())
        counts.append(rng.multinomial(n, p))
    errors = entropy(counts, "nsb", block=2**22) - truth
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(draws)
    assert errors.std() < 0.35
    plain = entropy(counts) - truth
    assert plain.mean() < -8 * plain.std() / np.sqrt(draws)


# --- What holds whatever the numbers -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_order_and_padding_are_nothing(correction):
    counts = np.array(COUNTS["skew"])
    found = entropy(counts, correction)
    shuffled = np.random.default_rng(0).permutation(counts)
    np.testing.assert_allclose(entropy(shuffled, correction), found, rtol=1e-13)
    padded = np.concatenate([counts, np.zeros(52, int)])
    np.testing.assert_allclose(entropy(padded, correction, alphabet=len(counts)), found, rtol=1e-13)
    larger = entropy(padded, correction) - found
    assert larger > 1e-4 if correction in ("shrinkage", "nsb") else abs(larger) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_a_batch_is_a_loop(correction):
    batch = np.random.default_rng(0).poisson(1.0, (2, 3, 20))
    found = entropy(batch, correction)
    assert found.shape == (2, 3)
    one_by_one = [[entropy(counts, correction) for counts in row] for row in batch]
    np.testing.assert_allclose(found, one_by_one, rtol=1e-13)
    # Four at a time, then the two that are left.
    at_a_time = 4 * max(20, CELLS_AT_LEAST.get(correction, 1))
    np.testing.assert_allclose(entropy(batch, correction, block=at_a_time), found, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("correction", QUICK)
def test_transformations(correction):
    batch = jnp.asarray(np.random.default_rng(0).poisson(1.0, (4, 20)))
    expected = discrete_entropy(batch, correction)
    assert expected.dtype == jnp.float32

    def of(counts):
        return discrete_entropy(counts, correction)

    for found in (jax.jit(of)(batch), jax.vmap(of)(np.asarray(batch, np.int64)), jax.lax.map(of, batch)):
        np.testing.assert_array_equal(found, expected)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("correction", QUICK)
def test_what_is_no_count_is_nan_inside_a_transformation(correction):
    of = jax.jit(lambda counts: discrete_entropy(counts, correction, alphabet=3))
    found = of(jnp.array([[2, 1, 0, 0], [2, -1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]))
    np.testing.assert_array_equal(np.isfinite(found), [True, False, False, False])


def test_counts_beyond_32_bits():
    """With 64-bit types switched off."""
    counts = np.array([2**40, 2**39, 2**39])
    assert abs(discrete_entropy(counts) - 1.5 * LN2) < 1e-6


@pytest.mark.parametrize("correction", QUICK)
def test_finite_for_every_count_vector(correction):
    """All vectors of four cells and up to six samples: no NaN, no infinity, and none negative."""
    grid = np.array(np.meshgrid(*[range(7)] * 4)).reshape(4, -1).T
    grid = grid[(grid.sum(axis=1) > 0) & (grid.sum(axis=1) <= 6)]
    found = entropy(grid, correction, block=2**22)
    assert np.isfinite(found).all()
    if correction != "grassberger":  # it may be
        assert found.min() >= -1e-15


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ([0.5, 0.5], {}, "counts must be integers, got float64: numbers of samples"),
        ([True, False], {}, "counts must be integers, got bool"),
        (["a", "b"], {}, "counts must be integers, got <U1"),
        ([3, -1], {}, r"counts must not be negative, got -1 at \(1,\)"),
        ([0, 0], {}, "counts are all zero: there is no sample"),
        ([[1, 2], [0, 0]], {}, r"counts of table \(1,\) are all zero"),
        (np.zeros((3, 0), int), {}, r"counts must have shape \(..., cells\) without an empty axis, got \(3, 0\)"),
        (np.array(3), {}, r"counts must have shape \(..., cells\)"),
        ([1, 2], {"correction": "chao_shen"}, "unknown correction 'chao_shen': did you mean 'chao-shen'"),
        ([1, 2, 3], {"alphabet": 2}, "more cells have samples than the alphabet of 2"),
        ([1, 2, 3], {"alphabet": 2.5}, "alphabet must be a whole number of symbols, got 2.5"),
        ([1, 2, 3], {"block": 0}, "block must be a whole number of cells, 1 or more, got 0"),
    ],
)
def test_bad_input(unchecked, counts, settings, message):
    with pytest.raises(InputError, match=message):
        discrete_entropy(np.asarray(counts), **settings)
