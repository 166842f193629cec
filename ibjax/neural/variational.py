"""Variational estimators that train a critic: InfoNCE, NWJ, DonskerVaradhan and SMILE."""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ibjax.errors import InputError, choose
from ibjax.estimators.samples import concrete, positive
from ibjax.neural import bounds
from ibjax.neural.base import Measured, Variational, count
from ibjax.neural.critics import Concatenated, Separable
from ibjax.neural.prepare import Split, scored
from ibjax.neural.pure import pure
from ibjax.neural.train import Objective

CRITICS = ("separable", "concatenated")
SATURATED = 0.1
"""Nats by which a bound's ceiling may hold it down before it is called saturated."""
DOMINATED, TIMES = 0.1, 5.0
"""Share of a mean, and how many times its equal share, that a sample may have before the mean is called dominated."""


@dataclasses.dataclass(frozen=True)
class CriticBound(Variational):
    """A bound of a trained critic's scores."""

    critic: str = dataclasses.field(default="separable", metadata={"static": True})
    embedding: int = dataclasses.field(default=32, metadata={"static": True})
    evaluation_batch: int = dataclasses.field(default=2048, metadata={"static": True})

    def checked(self) -> "CriticBound":
        """Return self if its settings make sense, else raise `InputError`."""
        super().checked()
        choose("critic", self.critic, CRITICS)
        count("embedding", self.embedding, 1)
        count("evaluation_batch", self.evaluation_batch, 2)
        return self

    @abc.abstractmethod
    def bound(self, scores: bounds.Scores, weights: bounds.Weights | None = None) -> Array:
        """The bound of scores of all pairs, in nats; see `ibjax.neural.bounds`."""

    def loss(self, scores: bounds.Scores, memory: Any) -> tuple[Array, Any]:
        """What training minimises on the scores of a batch, and what the loss carries to the next."""
        return -self.bound(scores), memory

    def score(self, scores: bounds.Scores) -> Array:
        """What stopping maximises on the scores of the validation samples."""
        return self.bound(scores)

    def _diagnose(self, scores: bounds.Scores) -> dict[str, Array]:
        """More about the scores of a block of test samples; averaged over blocks."""
        return {}

    def _measure(self, parts: Split, labels: tuple[bool, bool], key: Array) -> Measured:
        parts = scored(parts, (True, True))
        x, y = parts.train
        columns = x.shape[1], y.shape[1]
        if self.critic == "separable":
            module = functools.partial(Separable, columns, self.hidden, self.embedding)
        else:
            module = functools.partial(Concatenated, columns, self.hidden)
        network = pure(module, x.dtype)

        def loss(params, memory, x, y):
            return self.loss(network.apply(params, x, y), memory)

        def blocks(params, function, x, y):
            """Of each block of held-out samples, whose pairs are all scored."""
            count = -(-len(x) // self.evaluation_batch)
            x, y = (a[: len(a) // count * count].reshape(count, -1, a.shape[1]) for a in (x, y))
            return jax.lax.map(lambda pair: function(network.apply(params, *pair)), (x, y))

        def score(params, x, y):
            return blocks(params, self.score, x, y).mean()

        fitted = self._fit(Objective(network.init, loss, score, jnp.zeros((), x.dtype)), parts, key)

        def judge(scores):
            return self.bound(scores), bounds.influence(self.bound, scores), self._diagnose(scores)

        value, influence, more = blocks(fitted.params, judge, *parts.test)
        more = {name: v.all() if v.dtype == bool else v.mean() for name, v in more.items()}
        return Measured(
            value.mean(),
            bounds.error_of(influence.ravel()),
            {
                "best_step": fitted.step,
                "diverged": fitted.diverged,
                "unfinished": fitted.unfinished,
                "validation": fitted.score,
                **more,
            },
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class InfoNCE(CriticBound):
    """Contrastive lower bound on the information, from a network trained to tell the true pairs among all pairs.

    A critic s(x, y) is trained to maximise, over batches of K samples::

        I(X;Y) >= 1/K sum_i [ s(x_i, y_i) - ln 1/K sum_j exp s(x_i, y_j) ]

    The samples are split in three: gradients see the training samples, stopping the validation samples (the parameters
    of their best bound are kept), and the value is the bound of the test samples, which neither saw. So it is a lower
    bound on average, whatever the critic has overlearned, and close to 0 on independent samples, on either side.
    Before its first step the critic is 0, and so is its bound. Networks see each column's normal scores, by its ranks
    among the training samples: the value does not depend on units or tails, nor on increasing maps of single columns.

    The bound cannot exceed ln K. Training needs no large K; the test samples are scored in blocks as large as
    ``evaluation_batch`` allows. Well below ln K the ceiling already holds the bound down, by about ``saturation`` nats.

    When it fails: samples too few for their dimension (the bound is low: it was 0.02 of 1 nat low for sparse Gaussians
    in 5+5 dimensions at n = 5000, 0.1 at n = 1000, 0.4 of 5 nats at n = 5000), rows that occur twice (they stand on
    both sides of the split, and the value is too large: remove them), or training that is "unfinished" (raise
    ``steps``).

    If no step beats the critic that is 0, value and standard error are 0: nothing was found.

    It trains ``steps`` steps always; under vmap, replicas run one after another on a CPU, each in its cores' cache, and
    together on an accelerator: shard them over the host's devices to use every core.

    Diagnostics:
        best_step: steps after which the kept parameters were seen.
        ceiling: ln of the evaluation batch.
        constant: x or y is constant: the value is 0.
        diverged: a loss was not finite; the best finite parameters were kept.
        non_finite: a sample is not finite: the value is NaN.
        saturated: ``saturation`` is above 0.1 nat: the true value is larger.
        saturation: nats by which the ceiling lowers the bound.
        too_many_classes: more labels than ``classes``: the value is NaN (outside transformations an InputError).
        unfinished: the parameters of the last look were the best.
        validation: the best bound of the validation samples, a little optimistic.

    Attributes:
        hidden: units of the hidden layers of each network. One layer of 64 was as good for Gaussian samples, two are
            better on maps with a bend.
        steps: training steps, rounded up to whole rounds of 20. Of 5000 samples in 5+5 dimensions the best step was
            300-500; larger samples and information need more.
        batch_size: samples a step, every one of them all others' negative.
        learning_rate: Adam's; half and double of it made no difference in trials.
        held_out: share of the samples that training does not see, half for stopping and half for the value. The
            standard error falls with it, and the bound too.
        classes: most classes that labels may have, the width of their one-hot code.
        critic: ``"separable"``, f(x) . g(y), or ``"concatenated"``, h(x, y), which is far slower.
        embedding: units of f and g of the separable critic.
        evaluation_batch: most samples whose pairs are scored at once; its square is held in memory.

    Raises:
        InputError: from a call: settings or samples that make no sense, or no key.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 4000))
        >>> found = InfoNCE(steps=100, learning_rate=0.01)(x, x + noise, jax.random.key(1))
        >>> abs(found.value - 0.5 * jnp.log(2)) < 0.1
        Array(True, dtype=bool)

    References:
        van den Oord, Li & Vinyals (2018), "Representation learning with contrastive predictive coding", equation 4.
        Poole et al. (2019), "On variational bounds of mutual information", section 2.3.
    """

    def bound(self, scores: bounds.Scores, weights: bounds.Weights | None = None) -> Array:
        """`ibjax.neural.bounds.info_nce`."""
        return bounds.info_nce(scores, weights)

    def _diagnose(self, scores: bounds.Scores) -> dict[str, Array]:
        lost = bounds.saturation(scores)
        ceiling = jnp.log(jnp.asarray(len(scores), scores.dtype))
        return {"ceiling": ceiling, "saturated": lost > SATURATED, "saturation": lost}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NWJ(CriticBound):
    """Nguyen, Wainwright & Jordan's lower bound on the information, without a ceiling and of large variance.

        I(X;Y) >= 1 + E s(x_i, y_i) - E exp s(x_i, y_j), i != j

    A lower bound on average, from test samples that training and stopping did not see. Above about ln n its mean of
    exponentials hangs on few pairs: the estimate is far too low and its standard error too small, where `InfoNCE`
    stops at its ceiling. Split, stopping, settings and diagnostics are those of `InfoNCE`, less its ceiling, with

        dominated: ``largest_share`` is above 0.1 and five times an equal share: one sample decides the value.
        largest_share: what a single x or y of the test samples, with all its partners, has of the mean of exponentials.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 4000))
        >>> found = NWJ(steps=100, learning_rate=0.01)(x, x + noise, jax.random.key(1))
        >>> abs(found.value - 0.5 * jnp.log(2)) < 0.1
        Array(True, dtype=bool)

    References:
        Nguyen, Wainwright & Jordan (2010), "Estimating divergence functionals and the likelihood ratio by convex risk
        minimization", equation 25.
        McAllester & Stratos (2020), "Formal limitations on the measurement of mutual information", theorem 1.
    """

    def bound(self, scores: bounds.Scores, weights: bounds.Weights | None = None) -> Array:
        """`ibjax.neural.bounds.nwj`."""
        return bounds.nwj(scores, weights)

    def _diagnose(self, scores: bounds.Scores) -> dict[str, Array]:
        return _dominance(scores)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DonskerVaradhan(CriticBound):
    """MINE: Donsker & Varadhan's bound on the information, trained with the bias of the gradient corrected.

        I(X;Y) >= E s(x_i, y_i) - ln E exp s(x_i, y_j), i != j

    A lower bound for known expectations. With the mean of n test samples inside the logarithm it may come out above:
    the logarithm of a mean is low by var / 2n, which is slight until the information nears ln n, and large then.
    Split, stopping, settings and diagnostics are those of `NWJ`.

    Attributes:
        moving_average: rate of the average that the gradient of the logarithm divides by; 1 uses the batch's own mean.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 4000))
        >>> found = DonskerVaradhan(steps=100, learning_rate=0.01)(x, x + noise, jax.random.key(1))
        >>> abs(found.value - 0.5 * jnp.log(2)) < 0.1
        Array(True, dtype=bool)

    References:
        Donsker & Varadhan (1983); Belghazi et al. (2018), "Mutual information neural estimation", equations 10 and 12.
    """

    moving_average: Array | float = 0.1

    def checked(self) -> "DonskerVaradhan":
        """Return self if its settings make sense, else raise `InputError`."""
        super().checked()
        positive("moving_average", self.moving_average, "0.1 is the default")
        if concrete(self.moving_average) and self.moving_average > 1:
            raise InputError(f"moving_average must be at most 1, got {self.moving_average}: 1 averages nothing")
        return self

    def bound(self, scores: bounds.Scores, weights: bounds.Weights | None = None) -> Array:
        """`ibjax.neural.bounds.donsker_varadhan`."""
        return bounds.donsker_varadhan(scores, weights)

    def _diagnose(self, scores: bounds.Scores) -> dict[str, Array]:
        return _dominance(scores)

    def loss(self, scores: bounds.Scores, memory: Any) -> tuple[Array, Any]:
        """`ibjax.neural.bounds.donsker_varadhan_loss`."""
        return bounds.donsker_varadhan_loss(scores, memory, self.moving_average)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SMILE(CriticBound):
    """Donsker & Varadhan's estimate with a clipped density ratio: less variance, and no bound.

        I(X;Y) ~ E s(x_i, y_i) - ln E exp clip(s(x_i, y_j), -clip, clip), i != j

    Neither a lower nor an upper bound: clipping makes the second term smaller in size, so that the estimate may exceed
    the information. The critic learns to tell pairs from shuffled pairs (the Jensen-Shannon objective, as in the
    authors' code), and stopping goes by the same objective. Split, settings and diagnostics are those of `NWJ`, with
    clipped scores; ``validation`` is the objective's.

    Attributes:
        clip: largest log density ratio of shuffled pairs. Small: less variance, more bias; infinite: no clipping.

    Example:
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 4000))
        >>> found = SMILE(steps=100, learning_rate=0.01)(x, x + noise, jax.random.key(1))
        >>> abs(found.value - 0.5 * jnp.log(2)) < 0.1
        Array(True, dtype=bool)

    References:
        Song & Ermon (2020), "Understanding the limitations of variational mutual information estimators", equation 14.
    """

    clip: Array | float = 5.0

    def checked(self) -> "SMILE":
        """Return self if its settings make sense, else raise `InputError`."""
        super().checked()
        if not (concrete(self.clip) and np.asarray(self.clip).dtype.kind in "fiu" and np.isposinf(self.clip)):
            positive("clip", self.clip, "5 is Song & Ermon's")
        return self

    def bound(self, scores: bounds.Scores, weights: bounds.Weights | None = None) -> Array:
        """`ibjax.neural.bounds.smile`."""
        return bounds.smile(scores, weights, self.clip)

    def _diagnose(self, scores: bounds.Scores) -> dict[str, Array]:
        return _dominance(jnp.clip(scores, -self.clip, self.clip))

    def loss(self, scores: bounds.Scores, memory: Any) -> tuple[Array, Any]:
        """Minus `ibjax.neural.bounds.jensen_shannon`."""
        return -bounds.jensen_shannon(scores), memory

    def score(self, scores: bounds.Scores) -> Array:
        """`ibjax.neural.bounds.jensen_shannon`."""
        return bounds.jensen_shannon(scores)


def _dominance(scores: bounds.Scores) -> dict[str, Array]:
    """On how few samples the mean of exponentials hangs."""
    share = bounds.largest_share(scores)
    return {"dominated": share > max(DOMINATED, TIMES / len(scores)), "largest_share": share}
