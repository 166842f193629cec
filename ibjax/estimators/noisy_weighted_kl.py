"""Information of a layer with Gaussian noise, its entropy by weighted nearest neighbours."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ibjax.estimators import kozachenko, neighbours
from ibjax.estimators.base import MIEstimate
from ibjax.estimators.ksg import KSG
from ibjax.estimators.noisy_ksg import NoisyKSG
from ibjax.estimators.weighted_kl import FALLBACK_K, NOISE_LIMIT, is_thin, noise, weights


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyWeightedKL(NoisyKSG):
    """I(X;T) and I(T;Y) of a noisy layer as in `NoisyKSG`, the entropy with the weights of `WeightedKL`.

    With T = t + Z, Z normal of variance s2 in every unit, and h(T) from k neighbours whose leading biases cancel::

        I(X;T) = h(T) - (units / 2) ln(2 pi e s2)
        I(T;Y) by `KSG` with k = 3, as in `NoisyKSG`

    Nothing else takes the bias of h(T) off. Tanh layers of 6 normal inputs (n = 4000, s2 = 0.1, I(X;T) of 5 to 6 nats)
    were 0.38 nat too high by `NoisyKSG` in 8 units and 0.93 in 10, by the weights 0.11 and 0.25 too low, with
    deviations of 0.12 and 0.15; in up to 5 units `NoisyKSG` is as good or better. I(T;Y) is a difference whose biases
    cancel without weights, and better so.

    Guard, as of `WeightedKL`: h(T) is that of `NoisyKSG` with k = 3 where the weights alone cause an error above 0.3
    nat (``unstable_weights``), where some noisy activations are equal, and where they lie on a curve or surface as
    seen from their neighbours, since the noise is smaller than the distance to these (``no_density``; take more
    ``draws``).

    Attributes:
        noise_variance: s2, in squared units of the activations; 0.1 as of `KernelBounds`.
        k: number of neighbours behind h(T), 20 as of `WeightedKL`.
        draws: of the noise for each input; see `NoisyKSG`.

    When it fails: as `WeightedKL`, from about 11 units.

    Raises:
        InputError: as `NoisyKSG`.

    Example:
        A layer of 6 units whose inputs are normal with variance 1: I(X;T) = 3 ln(1 + 1 / s2).

        >>> t = jax.random.normal(jax.random.key(0), (2000, 6))
        >>> found = NoisyWeightedKL(noise_variance=0.25).layer(t, (t[:, 0] > 0).astype(int))
        >>> bool(abs(found.complexity - 3 * jnp.log(5)) < 0.2)
        True

    References:
        Berrett, Samworth & Yuan (2019), "Efficient multivariate entropy estimation via k-nearest neighbour distances",
        equations 3 and 4. The noise is that of Saxe et al. (2018), "On the information bottleneck theory of deep
        learning", appendix C.
    """

    k: int = dataclasses.field(default=20, metadata={"static": True})

    _name: ClassVar[str] = "noisy-weighted-kl"

    def _entropy_and_relevance(self, t: Array, labels: Array) -> tuple[Array, MIEstimate]:
        entropy, cautions = _estimate(self, t)
        found = KSG(FALLBACK_K)(t, labels)
        return entropy, found._replace(diagnostics=found.diagnostics | cautions)


@jax.jit
def _estimate(settings: NoisyWeightedKL, t: Array) -> tuple[Array, dict[str, Array]]:
    guarded = functools.partial(_guarded, k=settings.k)
    return neighbours.lane_by_lane(guarded, neighbours.BLOCK)(t)


def _guarded(t: Float[Array, "n units"], *, k: int) -> tuple[Array, dict[str, Array]]:
    """The weighted entropy where it can be trusted, else that of Kozachenko and Leonenko."""
    n, units = t.shape
    (t,), finite = neighbours.repaired(t)

    # Its inner function, as one that sets its own batching rule cannot be in a branch that is batched.
    def plain() -> Array:
        return kozachenko._kozachenko_leonenko(t, k=FALLBACK_K, engine="auto", block=neighbours.BLOCK).value

    unstable = n <= k or noise(weights(k, units), n) > NOISE_LIMIT
    no_density = jnp.zeros((), bool)
    if unstable:
        entropy = plain()
    else:
        radii = neighbours.kth_distances(t, tuple(range(1, k + 1)))
        no_density = is_thin(radii, units) & finite
        entropy = jax.lax.cond(
            no_density | neighbours.is_zero(radii).any(), plain, lambda: _weighted(radii, units).astype(t.dtype)
        )
    return jnp.where(finite, entropy, jnp.nan), {"unstable_weights": jnp.asarray(unstable), "no_density": no_density}


def _weighted(radii: Float[Array, "k n"], units: int) -> Float[Array, ""]:
    """``psi(n) + sum_j w_j [units mean_i ln(2 r_ij) - psi(j)]`` from distances above zero, in float64."""
    k, n = radii.shape
    with jax.enable_x64(True):
        psi = neighbours.digamma(n)
        logs = jnp.log(2 * jnp.maximum(radii, jnp.finfo(radii.dtype).tiny).astype(jnp.float64)).mean(axis=1)
        return psi[n] + (weights(k, units) * (units * logs - psi[1 : k + 1])).sum()
