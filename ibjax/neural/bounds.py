"""Variational bounds on mutual information as pure, differentiable functions of a critic's scores.

``scores[i, j]`` is what a critic gives the pair (x_i, y_j) of n samples: the diagonal are samples of p(x, y), the rest
of p(x) p(y). All critics here aim at ln p(x,y) / p(x)p(y). Every function takes the weights of the samples, by default
1/n each, and is smooth in them: that is where the standard error comes from (`standard_error`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scores = Float[Array, "n n"]
Weights = Float[Array, " n"]
Bound = Callable[[Scores, Weights | None], Float[Array, ""]]


def info_nce(scores: Scores, weights: Weights | None = None) -> Float[Array, ""]:
    """InfoNCE, a lower bound: ``1/n sum_i [ s_ii - ln 1/n sum_j exp(s_ij) ]`` nats, at most ln n.

    Example:
        >>> f"{info_nce(jnp.array([[2.0, 0.0], [0.0, 2.0]])):.6f}"  # ln 2 - ln(1 + exp(-2))
        '0.566219'

    References:
        van den Oord, Li & Vinyals (2018), equation 4; Poole et al. (2019), equation 12.
    """
    if weights is None:
        terms = jnp.diagonal(scores) - jax.nn.logsumexp(scores, axis=1)
        return terms.mean() + jnp.log(jnp.asarray(len(scores), scores.dtype))
    return weights @ (jnp.diagonal(scores) - jax.nn.logsumexp(scores, axis=1, b=weights))


def nwj(scores: Scores, weights: Weights | None = None) -> Float[Array, ""]:
    """Nguyen, Wainwright & Jordan's lower bound: ``1 + mean_i s_ii - mean_{i != j} exp(s_ij)`` nats.

    In their terms E[T] - E[exp(T - 1)] with T = 1 + s, so that the best score is the log density ratio itself.

    Example:
        >>> f"{nwj(jnp.array([[2.0, 0.0], [0.0, 2.0]])):.6f}"  # 1 + 2 - 1
        '2.000000'

    References:
        Nguyen, Wainwright & Jordan (2010), equation 25; Poole et al. (2019), equation 9.
    """
    return 1 + _joint_mean(scores, weights) - _product_mean(jnp.exp(scores), weights)


def donsker_varadhan(scores: Scores, weights: Weights | None = None) -> Float[Array, ""]:
    """Donsker & Varadhan's representation: ``mean_i s_ii - ln mean_{i != j} exp(s_ij)`` nats.

    A lower bound for infinitely many samples; of n, the logarithm of a mean is too small on average, and the bound too
    large, by about var(exp(s)) / (2 n mean(exp(s))^2).

    Example:
        >>> f"{donsker_varadhan(jnp.array([[2.0, 0.0], [0.0, 2.0]])):.6f}"  # 2 - ln 1
        '2.000000'

    References:
        Donsker & Varadhan (1983); Belghazi et al. (2018), equation 10.
    """
    return _joint_mean(scores, weights) - _log_product_mean_exp(scores, weights)


def smile(scores: Scores, weights: Weights | None = None, clip: Any = 5.0) -> Float[Array, ""]:
    """Donsker-Varadhan with a clipped density ratio: ``mean_i s_ii - ln mean_{i != j} exp(clip(s_ij, -clip, clip))``.

    Clipping bounds the variance and gives up the bound. Clipped scores have no gradient: train by `jensen_shannon`.

    Example:
        >>> f"{smile(jnp.array([[9.0, 7.0], [7.0, 9.0]])):.6f}"  # 9 - 5
        '4.000000'

    References:
        Song & Ermon (2020), equation 14.
    """
    return _joint_mean(scores, weights) - _log_product_mean_exp(jnp.clip(scores, -clip, clip), weights)


def jensen_shannon(scores: Scores, weights: Weights | None = None) -> Float[Array, ""]:
    """``-mean_i softplus(-s_ii) - mean_{i != j} softplus(s_ij)``, largest where s is the log density ratio.

    It is the negative cross-entropy of telling pairs from shuffled pairs: an objective, and no estimate of information.

    Example:
        >>> f"{jensen_shannon(jnp.zeros((2, 2))):.6f}"  # -2 ln 2
        '-1.386294'

    References:
        Nowozin, Cseke & Tomioka (2016), table 6; Song & Ermon (2020), section 5.
    """
    # -softplus(-s) = s - softplus(s)
    softplus = _softplus(scores)
    return _joint_mean(scores - softplus, weights) - _product_mean(softplus, weights)


def donsker_varadhan_loss(
    scores: Scores, log_average: Float[Array, ""], rate: Any
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Loss whose gradient is that of ``-donsker_varadhan`` with the bias of the batch corrected, and the new average.

    The gradient of ln mean exp(s) divides by the mean of one batch, which is biased; here it divides by the moving
    average ``a <- (1 - rate) a + rate mean exp(s)``. The value of the loss means nothing.

    Args:
        scores: of one batch.
        log_average: ln a so far; 0 where the critic starts at 0.
        rate: of the moving average, 0 to 1; 1 is the plain gradient.

    Example:
        >>> scores = jnp.array([[1.0, 0.5], [-0.5, 2.0]])
        >>> plain = jax.grad(donsker_varadhan)(scores)
        >>> loss = jax.grad(donsker_varadhan_loss, has_aux=True)
        >>> bool(jnp.allclose(loss(scores, jnp.zeros(()), 1.0)[0], -plain))
        True

    References:
        Belghazi et al. (2018), equation 12.
    """
    now = _log_product_mean_exp(scores, None)
    rate = jnp.asarray(rate, scores.dtype)
    log_average = jnp.logaddexp(jnp.log1p(-rate) + log_average, jnp.log(rate) + jax.lax.stop_gradient(now))
    return jnp.exp(now - log_average) - _joint_mean(scores, None), log_average


def standard_error(bound: Bound, scores: Scores) -> Float[Array, ""]:
    """Standard error of a bound of ``scores`` with a fixed critic, by the infinitesimal jackknife.

    ``sd_k(d bound / d weight_k) / sqrt(n)``: how much sample k moves the bound, as a pair and as everyone's negative.

    Example:
        >>> scores = jnp.array([[1.0, 0.5], [-0.5, 2.0]])
        >>> mean = lambda s, w: w @ jnp.diagonal(s)  # of two numbers: half their difference, over sqrt(2)
        >>> f"{standard_error(mean, scores):.4f}"
        '0.3536'

    References:
        Jaeckel (1972); Efron & Tibshirani (1993), section 22.2.
    """
    return error_of(influence(bound, scores))


def influence(bound: Bound, scores: Scores) -> Float[Array, " n"]:
    """Derivative of a bound with respect to the weight of each sample, at equal weights."""
    # Over a mesh they must vary as the scores do: the derivative of what all devices share is summed over devices.
    equal = jnp.where(scores[0] > 0, 1 / len(scores), 1 / len(scores)).astype(scores.dtype)
    return jax.grad(bound, argnums=1)(scores, equal)


def error_of(influence: Float[Array, " n"]) -> Float[Array, ""]:
    """Standard error of the mean of independent terms."""
    return influence.std() / jnp.sqrt(jnp.asarray(influence.size, influence.dtype))


def saturation(scores: Scores) -> Float[Array, ""]:
    """By how many nats each pair's own score in its sum lowers `info_nce`: small far from the ceiling ln n.

    ``mean_i [ ln 1/n sum_j exp(s_ij) - ln 1/(n-1) sum_{j != i} exp(s_ij) ]``.
    """
    n = len(scores)
    others = jax.nn.logsumexp(jnp.where(_same(scores), -jnp.inf, scores), axis=1)
    return (jax.nn.logsumexp(scores, axis=1) - others).mean() + jnp.log1p(-jnp.asarray(1 / n, scores.dtype))


def _softplus(scores: Array) -> Array:
    """``ln(1 + exp(s))`` to an absolute error of eps, differentiated three times as fast as jax.nn's on a CPU."""
    return jnp.maximum(scores, 0) + jnp.log(1 + jnp.exp(-jnp.abs(scores)))


def _same(scores: Array) -> Array:
    return jnp.eye(len(scores), dtype=bool)


def largest_share(scores: Scores) -> Float[Array, ""]:
    """Largest share that a single x_i or y_j, with all its partners, has of the mean of ``exp(s_ij)``, i != j.

    Example:
        >>> f"{largest_share(jnp.array([[5.0, 0.0], [0.0, 5.0]])):.2f}"  # two pairs alike
        '0.50'
        >>> f"{largest_share(jnp.zeros((5, 5))):.2f}"
        '0.20'
    """
    scores = jnp.where(_same(scores), -jnp.inf, scores)
    log_sums = jnp.stack([jax.nn.logsumexp(scores, axis=axis) for axis in (0, 1)])
    return jnp.exp(log_sums.max() - jax.nn.logsumexp(scores))


def _joint_mean(values: Array, weights: Array | None) -> Array:
    """Mean of the diagonal."""
    return jnp.diagonal(values).mean() if weights is None else weights @ jnp.diagonal(values)


def _product_mean(values: Array, weights: Array | None) -> Array:
    """Mean of what is off the diagonal."""
    n = len(values)
    values = jnp.where(_same(values), 0, values)
    if weights is None:
        return values.sum() / (n * (n - 1))
    return weights @ values @ weights / (1 - (weights**2).sum())


def _log_product_mean_exp(scores: Array, weights: Array | None) -> Array:
    """``ln`` of the mean of the exponentials of what is off the diagonal."""
    n = len(scores)
    scores = jnp.where(_same(scores), -jnp.inf, scores)
    if weights is None:
        return jax.nn.logsumexp(scores) - jnp.log(jnp.asarray(n * (n - 1), scores.dtype))
    log_weights = jnp.log(weights)
    return jax.nn.logsumexp(scores + log_weights[:, None] + log_weights) - jnp.log1p(-(weights**2).sum())
