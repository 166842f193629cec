"""The same numbers on an accelerator as on the CPU beside it."""

import functools

import jax
import numpy as np
import pytest

from ibjax.datasets import split, szt
from ibjax.estimators import RULES, Binning
from ibjax.networks import MLP
from ibjax.training import TrainConfig, TrainingData, train


def on_both(function, *args):
    """Results of a function on the default device and on the CPU."""
    return [
        jax.device_get(jax.jit(function)(*jax.device_put(args, d))) for d in (jax.devices()[0], jax.devices("cpu")[0])
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES)
def test_binned_information_is_the_cpu_s(rule):
    t = np.tanh(np.random.default_rng(0).normal(size=(4096, 10))).astype(np.float32)
    there, here = on_both(lambda t: Binning(rule=rule).layer(t, szt().y, classes=2), t)
    np.testing.assert_allclose(there, here, rtol=1e-6)


@pytest.mark.gpu
def test_training_is_the_cpu_s_to_rounding():
    whole = szt()
    data = TrainingData(*split(whole, 0.8, "random", jax.random.key(0)), whole)
    run = functools.partial(train, functools.partial(MLP, (12, 10, 7, 5, 4, 3, 2)), TrainConfig(epochs=3), data)
    there, here = on_both(lambda key: run(key)[1], jax.random.key(1))
    np.testing.assert_allclose(there.train_loss, here.train_loss, rtol=1e-4)
    np.testing.assert_allclose(there.gradient_std, here.gradient_std, rtol=1e-3)
