"""The Bayesian entropy of Nemenman, Shafee & Bialek, by quadrature with a fixed number of nodes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

NODES = 160
"""Nodes of the quadrature over ln beta."""
SEARCH_NODES, SEARCH_ROUNDS = 32, 6
"""Nodes and rounds of the search for the posterior's support: each round narrows a sharp peak 15 times or more."""
DROP = 34.0
"""The quadrature ends where the posterior density is exp(-34) of its largest."""
TAIL = 50.0
"""How far beyond the posterior's features the search begins, in ln beta; its tails fall as exp(-|ln beta|)."""
COUNTS_AT_A_TIME = 16
"""Different counts that are summed at a time: the integrand's array is this times `NODES`, whatever the table."""


def nsb_entropy(counts: Integer[Array, " cells"], alphabet: Float[Array, ""]) -> Float[Array, ""]:
    """Posterior mean of the entropy, in nats, under a mixture of Dirichlet priors that is nearly flat in the entropy.

    Given beta, the K = ``alphabet`` probabilities have the prior Dirichlet(beta, ..., beta), whose mean entropy is
    xi(beta) = psi(K beta + 1) - psi(beta + 1); beta is weighted so that xi is uniform on 0 .. ln K:

        H = int E[H | beta, counts] p(counts | beta) xi'(beta) dbeta / int p(counts | beta) xi'(beta) dbeta.

    The integrals are taken over ln beta by the trapezoidal rule. The integrand is analytic for |Im ln beta| < pi and
    falls exponentially on both sides, so the rule converges exponentially. The likelihood has a single peak (Levin &
    Reeds 1977), as narrow as one over the square root of the number of cells or as wide as ln n: a few rounds of
    ever finer grids find where the integrand is not negligible, and the nodes are spent there. The posterior is proper
    without any coincidence in the counts, so the estimate is always finite.

    Args:
        counts: non-negative, with at least one sample; zeros are cells without a sample.
        alphabet: K, the number of cells that could have a sample, whether or not ``counts`` lists them.

    Returns:
        The entropy in float64; call it under ``jax.enable_x64``.

    References:
        Nemenman, Shafee & Bialek (2002), "Entropy and inference, revisited".
        Levin & Reeds (1977), "Compound multinomial likelihood functions are unimodal".
    """
    size = jnp.asarray(alphabet, jnp.float64)
    values, times = _fingerprint(counts)
    occupied = times.sum()
    n = (values * times).sum()

    def log_density(v):
        """Log posterior density of v = ln beta, up to a constant."""
        beta = jnp.exp(v)
        likelihood = _over_fingerprint(lambda value: _log_rising(beta[:, None], value), values, times, v.shape)
        # What _log_rising leaves out, n ln(beta + 8) - n ln(K beta + 8), but for the constant n ln K.
        likelihood += n * jnp.log1p(8 * (size - 1) / (size * beta + 8)) - _log_rising(size * beta, n)
        return likelihood + jnp.log(_prior(beta, size))

    def narrow(_, ends):
        """The smallest interval of a grid's nodes that holds all of the density."""
        low, high = ends
        v = jnp.linspace(low, high, SEARCH_NODES)
        density = log_density(v)
        inside, step = density > density.max() - DROP, v[1] - v[0]
        first, last = jnp.where(inside, v, high).min(), jnp.where(inside, v, low).max()
        return jnp.maximum(first - step, low), jnp.minimum(last + step, high)

    # The density's features lie between K beta = 1 / ln n and beta = n.
    low, high = jax.lax.fori_loop(0, SEARCH_ROUNDS, narrow, (-jnp.log(size) - TAIL, jnp.log(n) + TAIL))
    v = jnp.linspace(low, high, NODES)
    density = log_density(v)
    weight = jnp.exp(density - density.max())
    beta = jnp.exp(v)
    total = n + size * beta

    def share(value):
        """Cells of one count in sum_i (n_i + beta) psi(n_i + beta + 1)."""
        return (value + beta[:, None]) * _digamma(value + beta[:, None] + 1)

    psi = _over_fingerprint(share, values, times, v.shape) + (size - occupied) * beta * _digamma(beta + 1)
    entropy = _digamma(total + 1) - psi / total
    return jnp.where(size > 1, (weight * entropy).sum() / weight.sum(), 0.0)


def _fingerprint(counts):
    """The different positive counts, and how many cells have each: an entropy depends on nothing else.

    Both have the length of ``counts``, filled up with zeros: n samples have at most sqrt(2 n) different counts, which
    is what makes the integrand cheap.
    """
    length = counts.shape[0] + -counts.shape[0] % COUNTS_AT_A_TIME
    ordered = -jnp.sort(-counts)  # zeros last
    change = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
    place = jnp.cumsum(change)
    zeros = jnp.zeros(length, jnp.float64)
    return zeros.at[place].max(ordered.astype(jnp.float64)), zeros.at[place].add((ordered > 0).astype(jnp.float64))


def _over_fingerprint(function, values, times, shape):
    """Sum of ``times * function(values)`` over as many blocks as hold a count."""

    def add(carry):
        start, total = carry
        value = jax.lax.dynamic_slice(values, (start,), (COUNTS_AT_A_TIME,))
        weight = jax.lax.dynamic_slice(times, (start,), (COUNTS_AT_A_TIME,))
        # Beyond the last count the weight is 0, and 1 is a value at which every function is finite.
        return start + COUNTS_AT_A_TIME, total + function(jnp.where(weight > 0, value, 1.0)) @ weight

    different = (times > 0).sum()
    return jax.lax.while_loop(lambda carry: carry[0] < different, add, (0, jnp.zeros(shape)))[1]


def _log_rising(b, n):
    """``ln[b (b+1) ... (b+n-1)] - n ln(b + 8)``, without cancellation for any b.

    Stirling's formula for Gamma(b + 8 + n) / Gamma(b + 8), and eight steps down from there.
    """
    c = b + 8
    steps = 1.0
    for k in range(8):
        steps = steps * (1 + n / (b + k))
    return (n + c - 0.5) * jnp.log1p(n / c) - n + _stirling(n + c) - _stirling(c) - jnp.log(steps)


def _stirling(z):
    """What Stirling's formula leaves of ln Gamma(z), for z >= 8 (Abramowitz & Stegun 6.1.41)."""
    w = 1 / z**2
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * 691 / 360360))))) / z


def _digamma(x):
    """``psi(x)`` for x >= 1, by eight steps up and the asymptotic series there (Abramowitz & Stegun 6.3.18).

    Twice as fast as JAX's, which is for all x.
    """
    steps = 0.0
    for k in range(8):
        steps = steps + 1 / (x + k)
    z = x + 8
    w = 1 / z**2
    series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * 691 / 32760)))))
    return jnp.log(z) - 0.5 / z - series - steps


def _prior(beta, size):
    """``beta xi'(beta)``, the prior density of ln beta: g(K beta) - g(beta), g(z) = z psi'(z + 1) between 0 and 1."""
    near = _g(size * beta) - _g(beta)
    far = _one_minus_g(beta) - _one_minus_g(size * beta)
    return jnp.where(beta < 1, near, far)


def _g(z):
    return jnp.where(z < 16, z * _trigamma(1 + jnp.minimum(z, 16.0)), 1 - _one_minus_g(z))


def _one_minus_g(z):
    """``1 - z psi'(z + 1)``, for large z by its asymptotic series 1 / 2z - 1 / 6z^2 + ... without cancellation."""
    small, large = jnp.minimum(z, 16.0), jnp.maximum(z, 16.0)
    return jnp.where(z < 16, 1 - small * _trigamma(1 + small), (0.5 - _bernoulli(large) / large) / large)


def _trigamma(x):
    """``psi'(x)`` for x >= 1, by sixteen steps up and the asymptotic series there."""
    steps = (1 / (x[..., None] + jnp.arange(16.0)) ** 2).sum(axis=-1)
    x = x + 16
    return steps + (1 + (0.5 + _bernoulli(x) / x) / x) / x


def _bernoulli(z):
    """``1/6 - 1/30 z^2 + 1/42 z^4 - ...``: what follows 1/z + 1/2z^2 in z^3 psi'(z) (Abramowitz & Stegun 6.4.12)."""
    w = 1 / z**2
    return 1 / 6 - w * (1 / 30 - w * (1 / 42 - w * (1 / 30 - w * (5 / 66 - w * 691 / 2730))))
