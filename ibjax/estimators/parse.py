"""Estimators by name, for the command line and for stored results."""

import dataclasses
from typing import Any

from ibjax.errors import InputError, choose
from ibjax.estimators.base import LayerEstimator
from ibjax.estimators.binning import Binning
from ibjax.estimators.edge import EDGE
from ibjax.estimators.gaussian import Gaussian, GaussianCopula
from ibjax.estimators.kernel import KernelBounds
from ibjax.estimators.ksg import KSG
from ibjax.estimators.matrix_renyi import MatrixRenyi
from ibjax.estimators.noisy_gaussian import NoisyGaussian
from ibjax.estimators.noisy_ksg import NoisyKSG
from ibjax.estimators.noisy_weighted_kl import NoisyWeightedKL
from ibjax.estimators.plugin import PlugIn
from ibjax.estimators.quantised import Quantised
from ibjax.estimators.soft_binning import SoftBinning
from ibjax.estimators.weighted_kl import WeightedKL

ESTIMATORS: dict[str, type[Any]] = {
    "binning": Binning,
    "edge": EDGE,
    "gaussian": Gaussian,
    "gaussian-copula": GaussianCopula,
    "kernel": KernelBounds,
    "ksg": KSG,
    "noisy-gaussian": NoisyGaussian,
    "noisy-ksg": NoisyKSG,
    "noisy-weighted-kl": NoisyWeightedKL,
    "plugin": PlugIn,
    "quantised": Quantised,
    "renyi": MatrixRenyi,
    "soft-binning": SoftBinning,
    "weighted-kl": WeightedKL,
}
"""Name -> estimator."""
LAYER_ESTIMATORS = tuple(name for name, kind in ESTIMATORS.items() if hasattr(kind, "layer"))
"""Names of those that measure a layer of a network."""

TRAINED = {
    "difference-of-entropies": "DifferenceOfEntropies",
    "donsker-varadhan": "DonskerVaradhan",
    "info-nce": "InfoNCE",
    "mine": "DonskerVaradhan",
    "nwj": "NWJ",
    "smile": "SMILE",
}
"""Names under which estimators that train networks are looked for -> class in `ibjax.neural`, a room above this."""

_READ = {"true": True, "false": False}


def parse(text: str) -> Any:
    """Read an estimator written as ``name`` or ``name:setting=value,...``; the inverse of ``str`` for those of layers.

    Args:
        text: for example ``"ksg"``, ``"binning:bins=100,range=layer"`` or ``"plugin:correction=chao-shen"``.

    Returns:
        The estimator, with its settings checked.

    Raises:
        InputError: an unknown name or setting, a value of the wrong type, or an estimator of `ibjax.neural`.

    Example:
        >>> str(parse("binning:bins=100,range=neuron"))
        'binning:bins=100,range=neuron'
    """
    name, _, rest = text.partition(":")
    if name in TRAINED:
        raise InputError(f"{name} trains a network: in Python, call ibjax.neural.{TRAINED[name]}()(x, y, key)")
    kind = ESTIMATORS[choose("estimator", name, ESTIMATORS)]
    # A setting without a default of its own type is for Python only.
    defaults = {f.name: f.default for f in dataclasses.fields(kind) if isinstance(f.default, bool | int | float | str)}
    settings: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        setting, _, value = item.partition("=")
        choose(f"setting of {name}", setting, defaults)
        settings[setting] = _value(f"{setting} of {name}", value, defaults[setting])
    return kind(**settings).checked()


def parse_layer(text: str) -> LayerEstimator:
    """Read an estimator that measures a layer of a network; see `parse`.

    Raises:
        InputError: as `parse`; or the estimator measures samples only.
    """
    name = text.partition(":")[0]
    if name in ESTIMATORS and name not in LAYER_ESTIMATORS:
        noisy = f"noisy-{name}"
        remedy = f"use {noisy}" if noisy in LAYER_ESTIMATORS else f"choose from {', '.join(LAYER_ESTIMATORS)}"
        raise InputError(f"{name} measures samples, not layers: {remedy}")
    return parse(text)


def _value(what: str, text: str, default: bool | int | float | str) -> bool | int | float | str:
    """A setting of the default's type."""
    if isinstance(default, bool):
        if text not in _READ:
            raise InputError(f"{what} must be true or false, got {text!r}")
        return _READ[text]
    try:
        return type(default)(text)
    except ValueError:
        wanted = "a whole number" if isinstance(default, int) else "a number"
        raise InputError(f"{what} must be {wanted}, got {text!r}") from None
