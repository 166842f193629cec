"""Information in a network that is noisy itself, where I(X;T) is finite (Goldfeld et al. 2019)."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float, Integer

from ibjax.errors import InputError, choose
from ibjax.estimators.pairs import by_rows, centred, squared_distances
from ibjax.estimators.samples import as_labels, as_samples, concrete, is_count, positive, same_length
from ibjax.networks import ACTIVATIONS

Layers = Sequence[tuple[Any, Any]]
"""(weight of shape (out, in), bias of shape (out,)) of every layer that has noise, from the input on."""


class NoisyInformation(NamedTuple):
    """Informations of every hidden layer of a noisy network, in nats.

    Attributes:
        complexity: I(X;T_l).
        std_error: its Monte-Carlo error; NaN if there is one sample an input.
        bias: first-order estimate of how far ``complexity`` is too high, 0 for the first layer; NaN for others if there
            is one sample an input. It is not taken off.
        relevance: I(T_l;Y), None without labels.
        relevance_error: its Monte-Carlo error.
        ceiling: ln n, which no estimate exceeds but for rounding.
        non_finite: whether an input, a parameter or an activation is not finite: everything is NaN then.
    """

    complexity: Float[Array, "... layers"]
    std_error: Float[Array, "... layers"]
    bias: Float[Array, "... layers"]
    relevance: Float[Array, "... layers"] | None
    relevance_error: Float[Array, "... layers"] | None
    ceiling: Float[Array, "..."]
    non_finite: Bool[Array, "..."]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyNetwork:
    """I(X;T_l) and I(T_l;Y) of a fully connected network with Gaussian noise after every hidden activation.

    The network computes, from T_0 = X uniform on the n inputs::

        S_l = f_l(T_{l-1}),   T_l = S_l + Z_l,   Z_l normal of deviation ``noise`` in every unit,

    so that I(X;T_l) = h(T_l) - (1/n) sum_i h(T_l | X = x_i) is finite and says how well the layer tells inputs apart.
    The noise belongs to the network: for one that was trained or is used without it, this is another network's
    information (for the analyst's noise, added to one layer at a time, see `ibjax.estimators.KernelBounds`).

    Sample propagation: ``samples`` m noise realisations of every input go through the network. Given x_i, T_l is taken
    for a mixture of m Gaussians centred at its S_l, and without for that of all n m; both entropies are Monte-Carlo
    means of -ln density over T_l = S_l + Z_l, one point from every centre::

        I(X;T_l) = (1/nm) sum_ij ln[ g_i(T_ij) / g(T_ij) ],   g_i = (1/m) sum_j N(S_ij, noise^2),   g = (1/n) sum_i g_i.

    The points are the same in both entropies, so that the noise they share cancels; no term exceeds ln n. In the first
    layer S does not vary: g_i is one Gaussian and its entropy d/2 ln(2 pi e noise^2) is exact (the mean over the points
    differs from it as it does in h(T), which is a control variate).

    The error: ``std_error`` covers the draws of Z and, to first order, those of S. What it does not cover is the bias
    of a finite mixture, which is too concentrated: h(T_l|x_i) comes out too small and the information too large. Its
    mean absolute error is at most O(c^d / sqrt(m)) for the conditional entropies and O(c^d / sqrt(n m)) for h(T_l),
    with d units and c depending on the noise: wide layers of little noise need samples
    exponential in d, and no bound is of use there. ``bias`` says how much it is about: half of what the estimate loses
    when every point's own centre is left out of its mixtures, which errs as far to the other side. In one unit it was
    right to 60 % below 0.03 nat and up to two thirds too large above: an alarm, no correction. Where it is above a
    tenth of the value, take more samples, more noise or fewer units. The bias of the relevance is smaller, as its
    mixtures are those of whole classes, and is not reported.

    Time is (n m)^2 d for every layer, (n^2 m) d for the first; memory ``block`` n m numbers at a time beside the
    samples' own n m d.

    Attributes:
        noise: standard deviation of the noise (beta in the paper), in units of the activations; 0.1 is small against
            tanh's range of 2.
        samples: noise realisations of every input.
        activation: of all hidden layers, a name of `ibjax.networks.ACTIVATIONS`.
        block: points whose densities are computed at a time.

    Raises:
        InputError: from `checked` and a call: noise that is not positive, fewer than 1 sample, shapes that do not fit,
            a value that is not finite.

    Example:
        Two inputs a unit tells apart, and two it does not:

        >>> layer = [(jnp.array([[2.0]]), jnp.array([0.0]))]
        >>> found = NoisyNetwork(noise=0.1)(layer, jnp.array([[-1.0], [-1.0], [1.0], [1.0]]), jax.random.key(0))
        >>> print(f"{found.complexity[0]:.4f} of {found.ceiling:.4f}")
        0.6931 of 1.3863

        A network of ibjax, with its classes:

        >>> import functools
        >>> from ibjax.networks import MLP, functional
        >>> params = functional(functools.partial(MLP, (3, 4, 2, 2))).init(jax.random.key(0))
        >>> x, y = jax.random.normal(jax.random.key(1), (8, 3)), jnp.arange(8) % 2
        >>> found = NoisyNetwork(noise=0.5, samples=20)(params, x, jax.random.key(2), y)
        >>> found.complexity.shape, found.relevance.shape
        ((2,), (2,))

    References:
        Goldfeld, van den Berg, Greenewald, Melnyk, Nguyen, Kingsbury & Polyanskiy (2019), "Estimating information flow
        in deep neural networks", ICML.
        Goldfeld, Greenewald, Niles-Weed & Polyanskiy (2020), "Convergence of smoothed empirical measures with
        applications to entropy estimation", IEEE Transactions on Information Theory 66.
    """

    noise: Array | float = 0.1
    samples: int = dataclasses.field(default=64, metadata={"static": True})
    activation: str = dataclasses.field(default="tanh", metadata={"static": True})
    block: int = dataclasses.field(default=64, metadata={"static": True})

    def checked(self) -> "NoisyNetwork":
        """Return self if its settings make sense, else raise `InputError`."""
        choose("activation", self.activation, ACTIVATIONS)
        for name in ("samples", "block"):
            if not is_count(getattr(self, name)):
                raise InputError(f"{name} must be a whole number of 1 or more, got {getattr(self, name)!r}")
        positive("noise", self.noise, "without noise I(X;T) is infinite")
        return self

    def __call__(self, params: Any, x: Any, key: Array, labels: Any = None) -> NoisyInformation:
        """Measure every hidden layer; works under `jax.jit`, and `jax.vmap` over replicas' parameters and keys.

        Args:
            params: parameters of an `ibjax.networks.MLP` as its `functional` makes them, whose output layer is left
                out; or pairs (weight of shape (out, in), bias of shape (out,)) of the hidden layers.
            x: the n inputs, all equally likely, of shape (n, features) or (n,).
            key: of the noise.
            labels: classes of the inputs, any integers, of shape (n,).

        Returns:
            The informations, one number a hidden layer, in the precision of the inputs and parameters.
        """
        self.checked()
        x = as_samples("x", x, at_least=1)
        layers = _checked_layers(_hidden_layers(params), x.shape[1])
        if labels is not None:
            labels = as_labels("labels", labels)
            same_length(x=x, labels=labels)
        return _measure(self, layers, x, key, labels)


def _hidden_layers(params: Any) -> Layers:
    """Weights and biases of the layers that have noise."""
    if not isinstance(params, nnx.State):
        return params
    flat = dict(nnx.to_flat_state(params))
    depth = len(flat) // 2
    try:
        return [tuple(flat["layers", i, name][...] for name in ("weight", "bias")) for i in range(depth)][:-1]
    except KeyError:
        raise InputError("params are not those of an MLP: give pairs (weight, bias) of the hidden layers") from None


def _checked_layers(layers: Any, features: int) -> tuple[tuple[Array, Array], ...]:
    """The layers as floats, if they fit to the features and to each other."""
    if not isinstance(layers, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in layers):
        raise InputError("params must be those of an MLP or pairs (weight, bias) of the hidden layers")
    if not layers:
        raise InputError("the network has no hidden layer, and noise is after those only: give it one")
    found = []
    for depth, pair in enumerate(layers, start=1):
        weight, bias = (a if hasattr(a, "dtype") else np.asarray(a) for a in pair)
        if weight.ndim != 2 or weight.shape[1] != features or not weight.shape[0] or bias.shape != weight.shape[:1]:
            raise InputError(
                f"hidden layer {depth} has a weight of shape {weight.shape} and a bias of shape {bias.shape}: "
                f"for {features} inputs they must be (out, {features}) and (out,)"
            )
        for name, a in (("weight", weight), ("bias", bias)):
            if concrete(a) and not np.isfinite(np.asarray(a)).all():
                raise InputError(f"the {name} of hidden layer {depth} has a value that is not finite: was it diverged?")
        features = weight.shape[0]
        found.append((jnp.asarray(weight), jnp.asarray(bias)))
    return tuple(found)


@jax.jit
def _measure(
    network: NoisyNetwork,
    layers: tuple[tuple[Array, Array], ...],
    x: Float[Array, "n features"],
    key: Array,
    labels: Integer[Array, " n"] | None,
) -> NoisyInformation:
    dtype = jnp.promote_types(jnp.result_type(x, *jax.tree.leaves(layers)), jnp.float32)
    layers, t = jax.tree.map(lambda a: a.astype(dtype), (layers, x))
    noise = jnp.asarray(network.noise, dtype)
    n, m = len(x), network.samples
    t = t[:, None]  # one realisation of each input, until there is noise

    found, finite = [], jnp.isfinite(noise) & (noise > 0)
    for depth, (weight, bias) in enumerate(layers):
        # A product of (realisations, features) by the highest precision: TF32 is as coarse as the noise.
        s = ACTIVATIONS[network.activation](jnp.matmul(t, weight.T, precision="highest") + bias)
        z = jax.random.normal(jax.random.fold_in(key, depth), (n, m, len(bias)), dtype)
        finite &= jnp.isfinite(weight).all() & jnp.isfinite(bias).all() & jnp.isfinite(s).all() & jnp.isfinite(t).all()
        found.append(_layer(s / noise, z, labels, network.block))
        t = s + noise * z

    layerwise = {name: jnp.stack([of_layer[name] for of_layer in found]) for name in found[0]}
    layerwise["bias"] = layerwise["bias"].at[0].set(0)  # the first layer's mixture is the true one
    layerwise = {name: jnp.where(finite, values, jnp.nan) for name, values in layerwise.items()}
    return NoisyInformation(
        complexity=layerwise["complexity"],
        std_error=layerwise["complexity_error"],
        bias=layerwise["bias"],
        relevance=layerwise.get("relevance"),
        relevance_error=layerwise.get("relevance_error"),
        ceiling=jnp.log(jnp.asarray(n, dtype)),
        non_finite=~finite,
    )


def _layer(
    s: Float[Array, "n centres units"], z: Float[Array, "n m units"], labels: Array | None, block: int
) -> dict[str, Array]:
    """Informations of a layer in units of its noise, their errors and the bias, by name.

    Args:
        s: centres of the mixture of every input, m or, where they are all the same, one.
        z: noise of every point.
        labels: classes of the inputs.
        block: points at a time.
    """
    (n, c, d), m = s.shape, z.shape[1]
    s = centred(s.reshape(-1, d)).reshape(s.shape)
    columns = s.reshape(-1, d).T

    def some(index: Array, points: Array, inputs: Array) -> dict[str, Array]:
        # No point is a centre, so none has the index of one.
        distance = squared_distances(points, jnp.full_like(index, -1), columns)
        logs = -distance.reshape(-1, n, c) / 2
        of_input = logsumexp(logs, axis=2) - np.log(c)
        density = logsumexp(of_input, axis=1) - np.log(n)
        own_input = inputs[:, None] == jnp.arange(n)
        mine = jnp.take_along_axis(of_input, inputs[:, None], axis=1)[:, 0]
        terms = {"complexity": mine - density}
        if c > 1:
            others = jnp.take_along_axis(logs, inputs[:, None, None], axis=1)[:, 0]
            others = jnp.where((index % m)[:, None] == jnp.arange(c), -jnp.inf, others)
            without = logsumexp(others, axis=1) - np.log(c - 1)
            density_without = logsumexp(jnp.where(own_input, without[:, None], of_input), axis=1) - np.log(n)
            terms["bias"] = (mine - density - without + density_without) / 2
        if labels is not None:
            same = labels[inputs][:, None] == labels
            of_class = logsumexp(jnp.where(same, of_input, -jnp.inf), axis=1) - jnp.log(
                same.sum(axis=1).astype(s.dtype)
            )
            terms["relevance"] = of_class - density
        return terms

    found = by_rows(some, block, (s + z).reshape(-1, d), jnp.repeat(jnp.arange(n), m))
    bias = found["bias"].mean() if c > 1 else jnp.full((), jnp.nan, s.dtype)
    measured = {"bias": bias}
    for name in found.keys() - {"bias"}:
        terms = found[name].reshape(n, m)
        measured[name] = terms.mean()
        # Points are drawn for every input apart, so what inputs differ by is no error.
        variance = terms.var(axis=1, ddof=1).mean() if m > 1 else jnp.full((), jnp.nan, s.dtype)
        measured[f"{name}_error"] = jnp.sqrt(variance / (n * m))
    return measured
