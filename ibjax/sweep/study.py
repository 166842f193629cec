"""What is replicated: one network on one task, measured by some estimators."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import keystr
from jaxtyping import Array, Key

from ibjax.errors import InputError
from ibjax.estimators import LayerEstimator
from ibjax.networks import Functional, functional
from ibjax.networks.functional import Network
from ibjax.sweep.plan import SEGMENT_STEPS, SLOTS
from ibjax.training import TrainConfig, TrainingData, snapshot_epochs, validate

CHUNK = 25
"""Most replicas that one device executes at a time by default."""
PLACES = ("data",)
"""Settings that say where files are: runs may differ in them, the digest of the data says what was in the files."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A network, its task and how often to repeat it.

    Replica i starts from ``fold_in(key, i)`` whatever the number of replicas, and replicas are executed in chunks
    of a fixed size. The chunk size is part of the study: its default depends on the number of replicas alone, so
    results do not depend on devices; between chunk sizes they agree only to rounding, which training amplifies.

    Attributes:
        network: makes the module; see `ibjax.networks.functional`.
        data: training, test and measured data.
        config: how it is trained.
        estimators: what I(X;T) and I(T;Y) are measured by.
        replicas: how many initialisations.
        seed: of everything random.
        chunk_size: replicas that one device executes at a time; None for half of them, but at most 25.
        restarts: so many times a replica that is stuck at chance is trained again, from a key of its own each time;
            what counts as stuck is `ibjax.training`'s ``alive``. The literature restarts such runs.
        keep_parameters: store the parameters at every snapshot, for measuring again without training.
        title: for figures; empty for the name of the measured data.
        settings: what the study was made from, to be stored and compared when it is resumed; by default the
            training config.

    Raises:
        InputError: settings that make no sense; the message names the value and the remedy.
    """

    network: Network
    data: TrainingData
    config: TrainConfig
    estimators: tuple[LayerEstimator, ...]
    replicas: int = 50
    seed: int = 0
    chunk_size: int | None = None
    keep_parameters: bool = False
    restarts: int = 0
    title: str = ""
    settings: Mapping[str, Any] | None = None

    def __post_init__(self):
        """Check what can be checked before anything is compiled."""
        validate(self.config, len(self.data.train))
        if self.replicas < 1:
            raise InputError(f"replicas must be 1 or more, got {self.replicas}")
        _seed_key(self.seed)
        if self.chunk_size is not None and self.chunk_size < 1:
            raise InputError(f"chunk_size must be 1 or more, got {self.chunk_size}")
        if self.restarts < 0:
            raise InputError(f"restarts must be 0 or more, got {self.restarts}")
        if not self.estimators:
            raise InputError("measure needs at least one estimator, for example 'binning'")
        if len({str(e) for e in self.estimators}) < len(self.estimators):
            raise InputError(f"an estimator is named twice: {', '.join(map(str, self.estimators))}")
        if len(self.data.train) < 2:
            raise InputError("the training set needs 2 samples or more: raise fraction")
        if len(self.data.measured) == 0:
            raise InputError("nothing to measure on: the test set is empty, lower fraction or measure on all")
        features, classes = self.data.train.x.shape[1:], self.data.train.classes
        for name, part in self.data._asdict().items():
            if part.x.shape[1:] != features or part.classes != classes:
                raise InputError(
                    f"{name} data have inputs {part.x.shape[1:]} and {part.classes} classes, the training data "
                    f"{features} and {classes}: take them from one data set"
                )
        try:
            widths = self.widths
        except TypeError as error:  # JAX's word for shapes that do not fit
            raise InputError(f"the network does not take inputs of shape {features}: {error}".split("\n")[0]) from error
        if widths[-1] != classes:
            raise InputError(f"the network has {widths[-1]} outputs and the labels {classes} classes: make them equal")

    @property
    def inside(self) -> tuple[LayerEstimator, ...]:
        """Estimators that are measured inside the training run; they come first in the results."""
        return tuple(e for e in self.estimators if not e.needs_span)

    @property
    def after(self) -> tuple[LayerEstimator, ...]:
        """Estimators that need the range of the whole run and are measured from its stored parameters."""
        return tuple(e for e in self.estimators if e.needs_span)

    @property
    def heading(self) -> str:
        """The title, never empty."""
        return self.title or self.data.measured.name

    @property
    def keeps_parameters(self) -> bool:
        """Whether parameters are stored: asked for, or needed afterwards."""
        return self.keep_parameters or bool(self.after)

    @functools.cached_property
    def functional(self) -> Functional:
        """The network as pure functions."""
        return functional(self.network)

    @functools.cached_property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer."""
        return self.functional.widths(self.data.train.x.shape[1:])

    @functools.cached_property
    def param_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Name -> shape and dtype of every parameter, in the order of the pytree's leaves."""
        params = jax.eval_shape(self.functional.init, jax.random.key(0))
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {keystr(path, simple=True, separator=".").removesuffix(".value"): leaf for path, leaf in leaves}

    @property
    def chunk(self) -> int:
        """Replicas that one device executes at a time."""
        return self.chunk_size or min(CHUNK, -(-self.replicas // 2))

    @property
    def chunks(self) -> int:
        """Number of chunks; the last may be padded."""
        return -(-self.replicas // self.chunk)

    @functools.cached_property
    def epochs(self) -> np.ndarray:
        """Epochs of the snapshots."""
        return snapshot_epochs(self.config.epochs, self.config.snapshots)

    @property
    def identity(self) -> dict[str, Any]:
        """All that the results depend on, as plain values: runs that do not differ in it, see `differing`, are one."""
        digest = hashlib.sha256()
        for part in self.data:
            for array in (part.x, part.y, part.p_y_given_x):
                digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return {
            **(self.settings or {**dataclasses.asdict(self.config), "network_sha256": self._network_digest}),
            "measure": [str(estimator) for estimator in (*self.inside, *self.after)],
            "replicas": self.replicas,
            "seed": self.seed,
            "chunk_size": self.chunk,
            **({"restarts": self.restarts} if self.restarts else {}),
            "segments": [SLOTS, SEGMENT_STEPS],
            "layer_widths": list(self.widths),
            "data_sha256": digest.hexdigest(),
        }

    @property
    def _network_digest(self) -> str:
        """A digest of what the network computes, for studies that no settings describe."""
        net = self.functional
        params = jax.eval_shape(net.init, jax.random.key(0))
        x = jax.ShapeDtypeStruct((1, *self.data.train.x.shape[1:]), "float32")
        digest = hashlib.sha256()
        for traced in (jax.make_jaxpr(net.init)(jax.random.key(0)), jax.make_jaxpr(net.apply)(params, x)):
            digest.update(str(traced).encode())
            for constant in traced.consts:
                digest.update(np.asarray(constant).tobytes())
        return digest.hexdigest()


def differing(old: Mapping[str, Any], new: Mapping[str, Any], but: Sequence[str] = PLACES) -> str:
    """What two identities differ in, in words; empty if in nothing but the settings named in ``but``."""
    names = [name for name in {**old, **new} if name not in but and old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name)!r} -> {new.get(name)!r}" for name in names)


def _seed_key(seed: int) -> Key[Array, ""]:
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be from 0 to 2^32 - 1, got {seed}")
    return jax.random.key(seed)


def data_key(seed: int) -> Key[Array, ""]:
    """The key for drawing a study's data, apart from its replicas' keys."""
    return jax.random.split(_seed_key(seed))[0]


def replica_key(seed: int, replica: Any) -> Key[Array, ""]:
    """The key of one replica, by its global id."""
    return jax.random.fold_in(jax.random.split(_seed_key(seed))[1], replica)


def replica_keys(seed: int, replicas: np.ndarray, attempt: int = 0) -> Key[Array, " replicas"]:
    """The keys of some replicas; of every attempt but the first, 0, others."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.split(_seed_key(seed))[1], replicas)
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, attempt) if attempt else keys
