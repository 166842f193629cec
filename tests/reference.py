"""A plain NumPy oracle for the tests: everything here is written from the definitions, with no JAX.

Three parts:

* information: entropies of empirical distributions, and the mutual information of a binned layer with its
  input X and its label Y.  Every quantity is in nats.
* networks: the forward pass, the backward pass, the optimiser steps and the gradient statistics of one
  multilayer perceptron, in float64 unless another dtype is asked for.
* a whole experiment: `train_and_measure` trains several networks in float32 and measures every layer.  It
  shares no code and no random numbers with the package, so agreement is agreement between distributions.

A weight matrix has the shape (out, in), and `x` has one sample a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
Arrays = Sequence[Any]  # of array-likes

# --- Information -------------------------------------------------------------------------------------------


def entropy_of_rows(rows: ArrayLike) -> float:
    """Entropy of the empirical distribution of the distinct rows.

    Args:
        rows: Array whose first axis runs over samples; two samples are equal if all else is.

    Returns:
        The entropy in nats.
    """
    _, counts = np.unique(np.asarray(rows), axis=0, return_counts=True)
    p = counts / counts.sum()
    return float(np.sum(p * np.log(1 / p)))


def binned_information(indices: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """I(X;T) and I(T;Y) of a binned layer T, over n equally likely, distinct inputs.

    T is a function of X, so I(X;T) = H(T); and I(T;Y) = H(T) - sum_y p(y) H(T|Y=y).

    Args:
        indices: Bin indices, (n, d).
        labels: Class of each input, (n,).

    Returns:
        The pair (I(X;T), I(T;Y)) in nats.
    """
    indices, labels = np.asarray(indices), np.asarray(labels)
    complexity = entropy_of_rows(indices)
    noise = sum(np.mean(labels == y) * entropy_of_rows(indices[labels == y]) for y in np.unique(labels))
    return complexity, float(complexity - noise)


def binned_information_soft(indices: ArrayLike, p_y_given_x: ArrayLike) -> tuple[float, float]:
    """I(X;T) and I(T;Y) of a binned layer T whose inputs carry distributions p(y|x) in place of labels.

    With n equally likely inputs, p(y|t) is the mean of the rows p(y|x) in the cell t, p(y) the mean of all,
    and I(T;Y) = sum_t p(t) KL(p(y|t) || p(y)).

    Args:
        indices: Bin indices, (n, d).
        p_y_given_x: Distribution of the label of each input, (n, classes); each row sums to 1.

    Returns:
        The pair (I(X;T), I(T;Y)) in nats.
    """
    p_y_given_x = np.asarray(p_y_given_x, dtype=np.float64)
    cells, cell_of_sample = np.unique(np.asarray(indices), axis=0, return_inverse=True)
    cell_of_sample = cell_of_sample.reshape(-1)
    p_y = p_y_given_x.mean(axis=0)
    relevance = 0.0
    for cell in range(len(cells)):
        members = p_y_given_x[cell_of_sample == cell]
        p_t, p_y_given_t = len(members) / len(p_y_given_x), members.mean(axis=0)
        seen = p_y_given_t > 0
        relevance += p_t * np.sum(p_y_given_t[seen] * np.log(p_y_given_t[seen] / p_y[seen]))
    return entropy_of_rows(indices), float(relevance)


# --- Bins: each function maps (n, d) activations to (n, d) integers ----------------------------------------


def bins_fixed(t: ArrayLike, bins: int, low: float, high: float) -> Array:
    """Equal bins on [low, high]; a value on an edge belongs to the bin above it.

    Values at or above `high` fall in the last bin, and values at or below `low` in the first.

    Args:
        t: Activations, (n, d).
        bins: Number of bins.
        low: Lower end of the first bin.
        high: Upper end of the last bin.

    Returns:
        Bin indices 0 .. bins - 1.
    """
    interior = np.linspace(low, high, bins + 1)[1:-1]
    return np.searchsorted(interior, np.asarray(t, dtype=np.float64), side="right")


def bins_width(t: ArrayLike, width: float) -> Array:
    """Bins of one width on the whole line: floor(t / width), which may be negative.

    Args:
        t: Activations, (n, d).
        width: Width of a bin.

    Returns:
        Bin indices.
    """
    return np.floor(np.asarray(t, dtype=np.float64) / width).astype(np.int64)


def bins_range(t: ArrayLike, bins: int, by: str) -> Array:
    """Equal bins from the smallest to the largest value over the samples.

    The largest value falls in the last bin.  Where all values are equal there is one bin, 0.

    Args:
        t: Activations, (n, d).
        bins: Number of bins.
        by: "neuron" for a range of each neuron, "layer" for one range of the whole layer.

    Returns:
        Bin indices 0 .. bins - 1.
    """
    t = np.asarray(t, dtype=np.float64)
    if by == "layer":
        return _bins_of_own_range(t, bins)
    if by == "neuron":
        return np.stack([_bins_of_own_range(neuron, bins) for neuron in t.T], axis=1)
    raise ValueError(f'by must be "neuron" or "layer", not {by!r}')


def _bins_of_own_range(values: Array, bins: int) -> Array:
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.shape, dtype=np.int64)
    return bins_fixed(values, bins, low, high)


def bins_quantile(t: ArrayLike, bins: int) -> Array:
    """Bins of each neuron that hold equal shares of the samples, as far as ties allow.

    The edges are the quantiles j / bins, 0 < j < bins, of the neuron's sample, each a value of that sample
    (the inverse of the empirical distribution function).  The index of a value is the number of edges
    strictly below it, so equal values share a bin.

    The rank of an edge is n j / bins rounded up.  NumPy computes it in floating point, so for a few pairs
    (n = bins = 25, or n = 60000 and bins = 60) an edge is one sample above that of exact arithmetic.

    Args:
        t: Activations, (n, d).
        bins: Number of bins.

    Returns:
        Bin indices 0 .. bins - 1.
    """
    t = np.asarray(t, dtype=np.float64)
    shares = np.arange(1, bins) / bins
    columns = []
    for neuron in t.T:
        edges = np.quantile(neuron, shares, method="inverted_cdf")
        columns.append((edges[None, :] < neuron[:, None]).sum(axis=1))
    return np.stack(columns, axis=1)


def bins_float_bits(t: ArrayLike) -> Array:
    """The exact float32 value as a symbol: its bit pattern, with -0.0 counted as 0.0.

    Args:
        t: Activations, (n, d).

    Returns:
        Bit patterns as non-negative integers.
    """
    values = np.array(t, dtype=np.float32)
    values[values == 0] = 0
    return values.view(np.uint32).astype(np.int64)


def bins_idnns(t: ArrayLike, bins: int = 30) -> Array:
    """The bins of the IDNNs code, with its quirk.

    `bins` edges from -1 to 1 bound bins - 1 ordinary bins, 0 .. bins - 2.  Values at or above 1 have the
    symbol bins - 1.  Values below -1 have the index -1, which that code looks up in its list of edges and so
    takes for the last one: they share the symbol bins - 1.

    Args:
        t: Activations, (n, d), taken as float32.
        bins: Number of edges.

    Returns:
        Symbols 0 .. bins - 1.
    """
    edges = np.linspace(-1, 1, bins).astype(np.float32)
    index = np.digitize(np.asarray(t, dtype=np.float32), edges) - 1
    return np.where(index == -1, bins - 1, index)


# --- One network -------------------------------------------------------------------------------------------


def _activate(z: Array, activation: str) -> Array:
    if activation == "tanh":
        return np.tanh(z)
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "linear":
        return z
    raise ValueError(f"unknown activation {activation!r}")


def _slope(z: Array, activation: str) -> Array:
    """Derivative of the activation at the pre-activation z; the one of relu at 0 is 0."""
    if activation == "tanh":
        return 1 - np.tanh(z) ** 2
    if activation == "relu":
        return (z > 0).astype(z.dtype)
    if activation == "linear":
        return np.ones_like(z)
    raise ValueError(f"unknown activation {activation!r}")


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _one_hot(y: ArrayLike, classes: int, dtype: DTypeLike) -> Array:
    """Rows p(y|x): those given, or one-hot rows if y holds class numbers."""
    y = np.asarray(y)
    return y.astype(dtype) if y.ndim == 2 else np.eye(classes, dtype=dtype)[y]


def mlp_forward(
    weights: Arrays, biases: Arrays, x: ArrayLike, activation: str, dtype: DTypeLike = np.float64
) -> tuple[Array, list[Array]]:
    """Forward pass of a multilayer perceptron with a softmax output.

    Args:
        weights: Weight matrix (out, in) of each layer, the output layer last.
        biases: Bias (out,) of each layer.
        x: Inputs, (n, features).
        activation: "tanh", "relu" or "linear", of the hidden layers.
        dtype: Precision of the arithmetic.

    Returns:
        The logits (n, classes), and the activations (n, width) of the hidden layers and of the softmax.
    """
    activations = []
    a = np.asarray(x, dtype=dtype)
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        a = _activate(a @ np.asarray(w, dtype=dtype).T + np.asarray(b, dtype=dtype), activation)
        activations.append(a)
    logits = a @ np.asarray(weights[-1], dtype=dtype).T + np.asarray(biases[-1], dtype=dtype)
    activations.append(np.exp(_log_softmax(logits)))
    return logits, activations


def mlp_gradients(
    weights: Arrays,
    biases: Arrays,
    x: ArrayLike,
    y: ArrayLike,
    activation: str,
    dtype: DTypeLike = np.float64,
) -> tuple[float, list[Array], list[Array]]:
    """Mean cross-entropy of a multilayer perceptron and its gradient, by hand-written backpropagation.

    Args:
        weights: Weight matrix (out, in) of each layer.
        biases: Bias (out,) of each layer.
        x: Inputs, (n, features).
        y: Class of each input, (n,), or distributions of the class, (n, classes).
        activation: "tanh", "relu" or "linear", of the hidden layers.
        dtype: Precision of the arithmetic.

    Returns:
        The loss in nats, the gradients of the weights, and the gradients of the biases.
    """
    weights = [np.asarray(w, dtype=dtype) for w in weights]
    biases = [np.asarray(b, dtype=dtype) for b in biases]

    inputs = [np.asarray(x, dtype=dtype)]  # of each layer
    pre_activations = []
    for w, b in zip(weights, biases, strict=True):
        pre_activations.append(inputs[-1] @ w.T + b)
        inputs.append(_activate(pre_activations[-1], activation))
    log_p = _log_softmax(pre_activations[-1])
    target = _one_hot(y, log_p.shape[1], dtype)
    n = len(target)
    loss = float(-np.sum(target * log_p) / n)

    d_weights: list[Array] = []
    d_biases: list[Array] = []
    delta = (np.exp(log_p) - target) / n  # d loss / d pre-activation
    for layer in reversed(range(len(weights))):
        d_weights.insert(0, delta.T @ inputs[layer])
        d_biases.insert(0, delta.sum(axis=0))
        if layer > 0:
            delta = (delta @ weights[layer]) * _slope(pre_activations[layer - 1], activation)
    return loss, d_weights, d_biases


def sgd_step(parameters: Arrays, gradients: Arrays, learning_rate: float) -> list[Array]:
    """One step of gradient descent.

    Args:
        parameters: Arrays of parameters.
        gradients: Their gradients.
        learning_rate: Step size.

    Returns:
        The new parameters.
    """
    return [np.asarray(p) - learning_rate * np.asarray(g) for p, g in zip(parameters, gradients, strict=True)]


def adam_step(
    parameters: Arrays,
    gradients: Arrays,
    first: Arrays,
    second: Arrays,
    step: int,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[list[Array], list[Array], list[Array]]:
    """One step of Adam, as in Algorithm 1 of Kingma and Ba (2015).

    Args:
        parameters: Arrays of parameters.
        gradients: Their gradients.
        first: Running means of the gradients, zeros before the first step.
        second: Running means of the squared gradients, zeros before the first step.
        step: Number of this step; the first is 1.
        learning_rate: Step size.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added to the square root of the second moment.

    Returns:
        The new parameters, first moments and second moments.
    """
    new_parameters, new_first, new_second = [], [], []
    for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
        p, g, m, v = (np.asarray(array) for array in (p, g, m, v))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**step)
        v_hat = v / (1 - b2**step)
        new_parameters.append(p - learning_rate * m_hat / (np.sqrt(v_hat) + eps))
        new_first.append(m)
        new_second.append(v)
    return new_parameters, new_first, new_second


class GradientStatistics(NamedTuple):
    """Statistics of the mini-batch gradients of the weights (no biases); each field is (layers,)."""

    mean: Array
    std: Array
    snr: Array
    batch_norm: Array


def gradient_statistics(
    weights: Arrays,
    biases: Arrays,
    x: ArrayLike,
    y: ArrayLike,
    batches: Sequence[ArrayLike] | Array,
    activation: str,
    dtype: DTypeLike = np.float64,
) -> GradientStatistics:
    """Mean and spread of the gradient over mini-batches, layer by layer, at fixed parameters.

    With g_b the gradient of the weights of a layer on batch b:

    * mean = || mean_b g_b ||
    * std = sqrt(sum over the weights of the variance over b), the variance with 1/B
    * snr = mean / std (infinite if all batches agree)
    * batch_norm = mean_b || g_b ||

    All norms are Frobenius norms.

    Args:
        weights: Weight matrix (out, in) of each layer.
        biases: Bias (out,) of each layer.
        x: Inputs, (n, features).
        y: Class of each input, (n,).
        batches: Indices of the samples of each batch, (B, size); the sizes may differ.
        activation: "tanh", "relu" or "linear", of the hidden layers.
        dtype: Precision of the arithmetic.

    Returns:
        The four statistics of every layer.
    """
    x, y = np.asarray(x), np.asarray(y)
    per_batch = []
    for batch in batches:
        rows = np.asarray(batch)
        per_batch.append(mlp_gradients(weights, biases, x[rows], y[rows], activation, dtype)[1])
    mean, std, batch_norm = [], [], []
    for layer in range(len(weights)):
        g = np.stack([gradients[layer].ravel() for gradients in per_batch])  # (B, weights)
        mean.append(np.linalg.norm(g.mean(axis=0)))
        std.append(np.sqrt(g.var(axis=0).sum()))
        batch_norm.append(np.linalg.norm(g, axis=1).mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.array(mean) / np.array(std)
    return GradientStatistics(np.array(mean), np.array(std), snr, np.array(batch_norm))


# --- A whole experiment ------------------------------------------------------------------------------------


class Curves(NamedTuple):
    """What `train_and_measure` returns.

    Attributes:
        complexity: I(X;T) in nats, (replicas, snapshots, layers), the softmax the last layer.
        relevance: I(T;Y) in nats, (replicas, snapshots, layers).
        train_accuracy: Share of the training samples classified right, (replicas, snapshots).
    """

    complexity: Array
    relevance: Array
    train_accuracy: Array


def train_and_measure(
    x: ArrayLike,
    y: ArrayLike,
    *,
    replicas: int,
    epochs: Sequence[int],
    batch_size: int,
    learning_rate: float,
    hidden: Sequence[int] = (10, 7, 5, 4, 3),
    fraction: float = 0.8,
    bins: int = 30,
    seed: int = 0,
) -> Curves:
    """Train tanh networks by plain gradient descent and measure all layers at the given epochs.

    Every replica draws for itself: the weights (a normal of standard deviation 1/sqrt(fan-in) before it is
    cut at two standard deviations; zero biases), the training set (round(fraction n) of the n inputs), and
    in every epoch the order of the training set.  The samples left over after the last full batch make a
    smaller batch, whose loss is the mean over that batch.

    The measurement takes all inputs, as equally likely, with equal bins on [-1, 1] in every layer.

    Args:
        x: All inputs, (n, features), no two alike.
        y: Their classes, (n,).
        replicas: Number of networks.
        epochs: Epochs to measure after, increasing; 0 is before training.
        batch_size: Samples in a batch.
        learning_rate: Step size.
        hidden: Widths of the hidden layers.
        fraction: Share of the inputs in the training set.
        bins: Number of bins.
        seed: Seed of all random draws.

    Returns:
        The information of every layer, and the training accuracy.
    """
    x, y = np.asarray(x, dtype=np.float32), np.asarray(y)
    if list(epochs) != sorted(set(epochs)) or epochs[0] < 0:
        raise ValueError("epochs must increase and not be negative")
    rng = np.random.default_rng(seed)
    n, features = x.shape
    n_train = round(fraction * n)
    one_hot = np.eye(y.max() + 1, dtype=np.float32)[y]
    networks = _Networks((features, *hidden, one_hot.shape[1]), replicas, rng)
    training_set = np.stack([rng.permutation(n)[:n_train] for _ in range(replicas)])

    # A sample is one row: its features, a one for the biases, and its one-hot class.
    samples = np.concatenate([x, np.ones((n, 1), dtype=np.float32), one_hot], axis=1)
    all_inputs = np.broadcast_to(samples.T[: features + 1], (replicas, features + 1, n))

    complexity = np.empty((replicas, len(epochs), len(hidden) + 1))
    relevance = np.empty_like(complexity)
    train_accuracy = np.empty((replicas, len(epochs)))
    epoch = 0
    for snapshot, end in enumerate(epochs):
        while epoch < end:
            rng.permuted(training_set, axis=1, out=training_set)
            shuffled = samples[training_set].swapaxes(1, 2)  # (replicas, features + 1 + classes, n_train)
            for start in range(0, n_train, batch_size):
                batch = shuffled[:, :, start : start + batch_size]
                networks.step(batch[:, : features + 1], batch[:, features + 1 :], learning_rate)
            epoch += 1
        layers = networks.forward(all_inputs)
        predicted = layers[-1].argmax(axis=1)
        for r in range(replicas):
            train_accuracy[r, snapshot] = np.mean((predicted[r] == y)[training_set[r]])
            for i, layer in enumerate(layers):
                information = binned_information(bins_fixed(layer[r].T, bins, -1, 1), y)
                complexity[r, snapshot, i], relevance[r, snapshot, i] = information
    return Curves(complexity, relevance, train_accuracy)


class _Buffers(NamedTuple):
    """Work space of `_Networks` for one batch size; `outputs` and `output_slopes` are views of layers.

    Each layer of `activations` ends with a row of ones.  The slopes are 1 - a^2, meant for the tanh layers.
    """

    activations: Array
    slopes: Array
    outputs: list[Array]
    output_slopes: list[Array]
    deltas: list[Array]


class _Networks:
    """Several tanh networks of one shape, in float32, stepped side by side.

    Arrays are feature-major: activations (replicas, features, samples), so that a layer is one product
    (replicas, out, in + 1) @ (replicas, in + 1, samples).  The last column of a weight matrix is the bias,
    and the last row of its input is one.  All parameters of a replica lie in one row of `parameters`.
    """

    def __init__(self, widths: Sequence[int], replicas: int, rng: np.random.Generator) -> None:
        self.replicas = replicas
        shapes = [(out, fan_in + 1) for fan_in, out in itertools.pairwise(widths)]
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        self.parameters = np.zeros((replicas, ends[-1]), dtype=np.float32)
        self.steps = np.zeros_like(self.parameters)  # learning rate times gradient
        self.weights: list[Array] = []  # views of the parameters
        self.weight_steps: list[Array] = []  # views of the steps
        for shape, end in zip(shapes, ends, strict=True):
            part = slice(end - shape[0] * shape[1], end)
            self.weights.append(self.parameters[:, part].reshape(replicas, *shape))
            self.weight_steps.append(self.steps[:, part].reshape(replicas, *shape))
        for w in self.weights:
            out, fan_in = w.shape[1], w.shape[2] - 1
            w[:, :, :-1] = _truncated_normal(rng, (replicas, out, fan_in)) / np.sqrt(fan_in)
        self._buffers: dict[int, _Buffers] = {}

    def _buffers_of(self, size: int) -> _Buffers:
        if size not in self._buffers:
            widths = [w.shape[1] for w in self.weights]
            ends = np.cumsum([width + 1 for width in widths])
            activations = np.ones((self.replicas, ends[-1], size), dtype=np.float32)
            slopes = np.empty_like(activations)
            rows = [slice(end - width - 1, end) for width, end in zip(widths, ends, strict=True)]
            self._buffers[size] = _Buffers(
                activations,
                slopes,
                outputs=[activations[:, part] for part in rows],
                output_slopes=[slopes[:, part] for part in rows],
                deltas=[np.empty((self.replicas, width, size), dtype=np.float32) for width in widths],
            )
        return self._buffers[size]

    def forward(self, inputs: Array) -> list[Array]:
        """Activations of the hidden layers and of the softmax, each overwritten by the next call."""
        outputs = self._buffers_of(inputs.shape[2]).outputs
        for w, output in zip(self.weights, outputs, strict=True):
            a = output[:, :-1]
            np.matmul(w, inputs, out=a)
            if w is not self.weights[-1]:
                np.tanh(a, out=a)
            inputs = output
        softmax = outputs[-1][:, :-1]
        softmax -= softmax.max(axis=1, keepdims=True)
        np.exp(softmax, out=softmax)
        softmax /= softmax.sum(axis=1, keepdims=True)
        return [output[:, :-1] for output in outputs]

    def step(self, inputs: Array, target: Array, learning_rate: float) -> None:
        """One step of gradient descent on the mean cross-entropy of a batch."""
        size = inputs.shape[2]
        softmax = self.forward(inputs)[-1]
        activations, slopes, outputs, output_slopes, deltas = self._buffers_of(size)
        np.multiply(activations, activations, out=slopes)
        np.subtract(1, slopes, out=slopes)
        np.subtract(softmax, target, out=deltas[-1])
        deltas[-1] *= np.float32(learning_rate / size)
        for i in reversed(range(len(self.weights))):
            below = outputs[i - 1] if i > 0 else inputs
            np.matmul(deltas[i], below.swapaxes(1, 2), out=self.weight_steps[i])
            if i > 0:
                np.matmul(self.weights[i][:, :, :-1].swapaxes(1, 2), deltas[i], out=deltas[i - 1])
                deltas[i - 1] *= output_slopes[i - 1][:, :-1]
        self.parameters -= self.steps


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal draws, each drawn again until it is within two standard deviations."""
    draws = rng.standard_normal(shape)
    while (outside := np.abs(draws) > 2).any():
        draws[outside] = rng.standard_normal(np.count_nonzero(outside))
    return draws
