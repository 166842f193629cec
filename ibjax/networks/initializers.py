"""Initial weights of the public codes, by name. Biases start at zero in all of them."""

from collections.abc import Callable

import jax
from jax.nn.initializers import Initializer, glorot_uniform
from jaxtyping import Array, Float

_GLOROT = glorot_uniform(in_axis=-1, out_axis=-2)


def truncated_normal(deviation: float) -> Initializer:
    """Normal of the given deviation cut off at two deviations, not rescaled, as TensorFlow's and Keras's."""

    def init(key, shape, dtype=float, out_sharding=None) -> Float[Array, "..."]:
        return deviation * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)

    return init


def _idnns(fan_in: int, fan_out: int, last: bool) -> Initializer:
    return truncated_normal(fan_in**-0.5)


def _ibsgd(fan_in: int, fan_out: int, last: bool) -> Initializer:
    return _GLOROT if last else truncated_normal(fan_out**-0.5)


def _lorenzen(fan_in: int, fan_out: int, last: bool) -> Initializer:
    return _GLOROT


def _edge(fan_in: int, fan_out: int, last: bool) -> Initializer:
    return truncated_normal(0.1)


INITIALIZERS: dict[str, Callable[[int, int, bool], Initializer]] = {
    "idnns": _idnns,
    "ibsgd": _ibsgd,
    "lorenzen": _lorenzen,
    "edge": _edge,
}
"""Name -> (fan in, fan out, whether it is the output layer) -> initialiser of an (out, in) matrix.

``"idnns"`` (Shwartz-Ziv & Tishby): truncated normal of deviation 1/sqrt(fan in) everywhere. ``"ibsgd"`` (Saxe et
al.): truncated normal of deviation 1/sqrt(own width) in hidden layers, Glorot uniform at the output.
``"lorenzen"`` (Lorenzen et al.): Glorot uniform everywhere. ``"edge"`` (Noshad et al.): truncated normal of deviation
0.1 everywhere, whatever the width.
"""
