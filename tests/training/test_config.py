"""Settings that make no sense are named, with the remedy."""

import dataclasses

import jax
import numpy as np
import pytest

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.networks import MLP
from ibjax.training import OPTIMIZERS, TrainConfig, TrainingData, train, validate

SAMPLES = 77


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"epochs": 1, "snapshots": 2},
        {"batch_size": None},
        {"batch_size": 1},
        {"batch_size": SAMPLES},
        {"learning_rate": 1e-12},
        {"momentum": 0.0},
        {"weight_decay": 0.0},
        *({"optimizer": name} for name in OPTIMIZERS),
    ],
    ids=str,
)
def test_settings_that_make_sense(change):
    config = dataclasses.replace(TrainConfig(), **change)
    assert validate(config, SAMPLES) is config


WRONG = [
    ({"optimizer": "adan"}, "unknown optimizer 'adan': did you mean 'adam'.*Choose from sgd, momentum, adam, adamw"),
    ({"epochs": 0}, "epochs must be 1 or more, got 0"),
    ({"epochs": -3}, "epochs must be 1 or more, got -3"),
    ({"snapshots": 1}, r"snapshots must be 2 or more \(the start and the end\), got 1"),
    ({"batch_size": 0}, "batch_size must be from 1 to the 77 training samples, got 0: None takes the full batch"),
    ({"batch_size": 78}, "batch_size must be from 1 to the 77 training samples, got 78: None takes the full batch"),
    ({"evaluate_size": 0}, "evaluate_size must be 1 or more, got 0: None takes all samples at once"),
    ({"learning_rate": 0.0}, r"learning_rate must be positive and finite, got 0\.0"),
    ({"learning_rate": -0.1}, r"learning_rate must be positive and finite, got -0\.1"),
    ({"learning_rate": np.nan}, "learning_rate must be positive and finite, got nan"),
    ({"learning_rate": np.inf}, "learning_rate must be positive and finite, got inf"),
    ({"momentum": 1.0}, r"momentum must be at least 0 and below 1, got 1\.0"),
    ({"momentum": -0.1}, r"momentum must be at least 0 and below 1, got -0\.1"),
    ({"momentum": np.nan}, "momentum must be at least 0 and below 1, got nan"),
    ({"weight_decay": -1e-9}, "weight_decay must be 0 or more, got -1e-09"),
    ({"weight_decay": np.inf}, "weight_decay must be 0 or more, got inf"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[str(change) for change, _ in WRONG])
def test_settings_that_do_not(change, message):
    with pytest.raises(InputError, match=message):
        validate(dataclasses.replace(TrainConfig(), **change), SAMPLES)


def test_training_checks_its_settings():
    data = from_arrays(np.zeros((SAMPLES, 3)), np.zeros(SAMPLES, int))
    with pytest.raises(InputError, match="batch_size must be from 1 to the 77 training samples, got 512"):
        train(lambda rngs: MLP((3, 2), rngs=rngs), TrainConfig(batch_size=512), TrainingData(data, data, data), KEY)


KEY = jax.random.key(0)
