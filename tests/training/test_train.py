"""The training loop, step by step against a plain NumPy oracle, and what its snapshots say."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from flax import nnx

from ibjax.datasets import Dataset, from_arrays, subset
from ibjax.estimators import Binning
from ibjax.networks import MLP, functional
from ibjax.training import (
    Slots,
    TrainConfig,
    TrainingData,
    epoch_order,
    init,
    probe_batches,
    segment,
    snapshot_epochs,
    train,
)

N, WIDTHS, BATCH = 77, (5, 4, 3), 16  # four batches of 16, and 13 samples more
KEY = jax.random.key(11)
OBSERVE, BLIND = True, False

BATCHES = TrainConfig(batch_size=BATCH, learning_rate=0.1)
IN_ORDER = TrainConfig(batch_size=BATCH, learning_rate=0.1, reshuffle=False)
FULL = TrainConfig(batch_size=None, learning_rate=0.1)
ADAM = TrainConfig(batch_size=None, learning_rate=0.01, optimizer="adam")

network = functools.partial(MLP, WIDTHS)


@pytest.fixture(scope="module")
def net():
    found = functional(network)
    return found._replace(init=jax.jit(found.init))


def make_data(n, seed):
    """Half the samples are of class 0.  Features 0 to 2 tell the class, feature 4 ranks the samples of class 1."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([0, 1, 2], [n // 2 + 1, int(0.3 * n), n - n // 2 - 1 - int(0.3 * n)]))
    x = rng.normal(size=(n, 5)) * 0.3
    x[:, :3] += np.eye(3)[y]
    x[:, 4] = 0
    x[y == 1, 4] = np.arange(1, (y == 1).sum() + 1) / 10
    return from_arrays(x, y)


@pytest.fixture(scope="module")
def data():
    return TrainingData(make_data(N, 0), make_data(20, 1), make_data(30, 2))


def weights_and_biases(params):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return leaves[1::2], leaves[0::2]


def with_arrays(params, weights, biases):
    """Parameters of the same structure with other numbers."""
    leaves = [a for pair in zip(biases, weights, strict=True) for a in pair]
    return jax.tree.unflatten(jax.tree.structure(params), [jnp.asarray(a, jnp.float32) for a in leaves])


def assert_same(one, other):
    """Bitwise; keys count too."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def assert_parameters(params, weights, biases, atol=1e-6):
    for found, expected in zip(weights_and_biases(params), (weights, biases), strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def measure(activations, measured: Dataset):
    """What the tests measure: a number of the whole layer, and information."""
    found = [Binning().layer(t, jnp.asarray(measured.y), classes=measured.classes) for t in activations]
    return {"sum": jnp.stack([t.sum() for t in activations]), "information": jnp.stack([f.complexity for f in found])}


class Program(NamedTuple):
    """A compiled segment of one slot, and how often it was traced."""

    call: Any
    traces: list

    def __call__(self, state, epochs, observe):
        state, snapshot = self.call(state, Slots(np.array([epochs]), np.array([observe])))
        return state, jax.tree.map(lambda leaf: leaf[0], snapshot)


@pytest.fixture(scope="module")
def program(net, data):
    """Config -> its program, each compiled once."""

    @functools.cache
    def make(config, **options):
        traces = []

        def run(state, slots):
            traces.append(1)
            return segment(net, config, data, state, slots, **options)

        return Program(jax.jit(run), traces)

    return make


@pytest.fixture(scope="module")
def main(program):
    """The program of most tests: shuffled batches, with a measurement, parameters kept."""
    return program(BATCHES, measure=measure, keep_parameters=True)


@pytest.fixture(scope="module")
def start(net):
    return init(net, BATCHES, KEY)


# --- Steps -------------------------------------------------------------------------------------------------


def descend(state, data, batches, learning_rate):
    """The oracle's gradient descent over the given batches."""
    weights, biases = weights_and_biases(state.params)
    for rows in batches:
        _, d_weights, d_biases = reference.mlp_gradients(weights, biases, data.x[rows], data.y[rows], "tanh")
        weights = reference.sgd_step(weights, d_weights, learning_rate)
        biases = reference.sgd_step(biases, d_biases, learning_rate)
    return weights, biases


def in_batches(order):
    return [order[first : first + BATCH] for first in range(0, len(order), BATCH)]


def test_one_step_of_gradient_descent(net, data, program):
    state = init(net, FULL, KEY)
    after, _ = program(FULL)(state, 1, BLIND)
    weights, biases = descend(state, data.train, [np.arange(N)], FULL.learning_rate)
    assert_parameters(after.params, weights, biases)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(weights, weights_and_biases(state.params)[0], strict=True))
    assert int(after.epoch) == 1


def test_five_steps_of_adam(net, data, program):
    state = init(net, ADAM, KEY)
    after, _ = program(ADAM)(state, 5, BLIND)
    weights, biases = weights_and_biases(state.params)
    arrays, layers = [*weights, *biases], len(weights)
    first = second = [np.zeros_like(a) for a in arrays]
    for step in range(1, 6):
        _, d_weights, d_biases = reference.mlp_gradients(
            arrays[:layers], arrays[layers:], data.train.x, data.train.y, "tanh"
        )
        arrays, first, second = reference.adam_step(arrays, [*d_weights, *d_biases], first, second, step, 0.01)
    assert_parameters(after.params, arrays[:layers], arrays[layers:])


def test_an_epoch_in_order_ends_with_the_samples_left_over(net, data, program):
    state = init(net, IN_ORDER, KEY)
    batches = in_batches(np.arange(N))
    assert [len(rows) for rows in batches] == [16, 16, 16, 16, 13]
    one, _ = program(IN_ORDER)(state, 1, BLIND)
    assert_parameters(one.params, *descend(state, data.train, batches, 0.1))
    # Without a new order each epoch, the next is the same once more.
    two, _ = program(IN_ORDER)(state, 2, BLIND)
    assert_parameters(two.params, *descend(state, data.train, 2 * batches, 0.1))
    # The oracle without the last batch, or with it weighted by its size, is far away.
    missing = descend(state, data.train, batches[:-1], 0.1)[0]
    assert np.abs(missing[0] - weights_and_biases(one.params)[0][0]).max() > 1e-4


def test_every_epoch_visits_every_sample_once_in_its_own_order(data, main, start):
    batches = []
    for epoch in range(3):
        order = np.asarray(epoch_order(jax.random.fold_in(start.key, epoch), N))
        assert sorted(order) == list(range(N))
        batches += in_batches(order)
    after, _ = main(start, 3, BLIND)
    assert_parameters(after.params, *descend(start, data.train, batches, 0.1), atol=3e-6)


@pytest.mark.parametrize(
    ("config", "optimizer"),
    [
        (FULL, optax.sgd(0.1)),
        (dataclasses.replace(FULL, optimizer="momentum", momentum=0.7), optax.sgd(0.1, momentum=0.7)),
        (ADAM, optax.adam(0.01)),
        (dataclasses.replace(ADAM, optimizer="adamw", weight_decay=0.2), optax.adamw(0.01, weight_decay=0.2)),
    ],
    ids=["sgd", "momentum", "adam", "adamw"],
)
def test_optimisers_are_optax_with_the_learning_rate_inside(net, data, program, config, optimizer):
    state = init(net, config, KEY)
    after, _ = program(config)(state, 6, BLIND)
    x, y = jnp.asarray(data.train.x), jnp.asarray(data.train.y)

    @jax.jit
    def step(params, memory):
        loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(net.apply(p, x)[0], y).mean()  # noqa: E731
        updates, memory = optimizer.update(jax.grad(loss)(params), memory, params)
        return optax.apply_updates(params, updates), memory

    params, memory = state.params, optimizer.init(state.params)
    for _ in range(6):
        params, memory = step(params, memory)
    assert_parameters(after.params, *weights_and_biases(params), atol=5e-7)


# --- Snapshots ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looked(main, start):
    """A state with biases that are not zero, some distance from its start, and its snapshot."""
    rng = np.random.default_rng(5)
    moved = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), start.params)
    return main(start._replace(params=moved, epoch=jnp.int32(7)), 0, OBSERVE)


def test_losses_and_accuracies_are_the_oracles(looked, data):
    state, snapshot = looked
    arrays = weights_and_biases(state.params)
    for part, loss, accuracy in [
        (data.train, snapshot.train_loss, snapshot.train_accuracy),
        (data.test, snapshot.test_loss, snapshot.test_accuracy),
    ]:
        expected, _, _ = reference.mlp_gradients(*arrays, part.x, part.y, "tanh")
        assert float(loss) == pytest.approx(expected, rel=1e-5)
        logits, _ = reference.mlp_forward(*arrays, part.x, "tanh")
        assert float(accuracy) == pytest.approx((logits.argmax(axis=1) == part.y).mean(), abs=1e-6)
    assert int(snapshot.epoch) == 7


def test_gradient_statistics_are_the_oracles(looked, data):
    state, snapshot = looked
    expected = reference.gradient_statistics(
        *weights_and_biases(state.params), data.train.x, data.train.y, probe_batches(N), "tanh"
    )
    np.testing.assert_allclose(snapshot.gradient_mean, expected.mean, rtol=3e-5)
    np.testing.assert_allclose(snapshot.gradient_std, expected.std, rtol=3e-5)
    np.testing.assert_allclose(snapshot.gradient_batch_norm, expected.batch_norm, rtol=3e-5)


def test_norms_are_of_the_weights_alone(looked):
    state, snapshot = looked
    weights, first = weights_and_biases(state.params)[0], weights_and_biases(state.start)[0]
    np.testing.assert_allclose(snapshot.weight_norm, [np.linalg.norm(w) for w in weights], rtol=1e-5)
    distance = [np.linalg.norm(w - s) for w, s in zip(weights, first, strict=True)]
    np.testing.assert_allclose(snapshot.weight_distance, distance, rtol=1e-5)


def test_measured_is_what_was_asked_of_the_measured_data(looked, data):
    state, snapshot = looked
    _, layers = reference.mlp_forward(*weights_and_biases(state.params), data.measured.x, "tanh")
    np.testing.assert_allclose(snapshot.measured["sum"], [t.sum() for t in layers], rtol=1e-4, atol=1e-4)
    for t, found in zip(layers, snapshot.measured["information"], strict=True):
        assert float(found) == pytest.approx(reference.entropy_of_rows(reference.bins_fixed(t, 30, -1, 1)), abs=1e-5)


def test_parameters_are_kept_where_asked(looked, program, net):
    state, snapshot = looked
    assert_same(snapshot.params, state.params)
    _, plain = program(FULL)(init(net, FULL, KEY), 0, OBSERVE)
    assert plain.params is None
    assert plain.measured is None


def test_before_training_nothing_has_moved(main, start):
    _, snapshot = main(start, 0, OBSERVE)
    assert int(snapshot.epoch) == 0
    np.testing.assert_array_equal(snapshot.weight_distance, 0)
    assert snapshot.weight_norm.shape == (2,)


# --- Alive and dead ----------------------------------------------------------------------------------------


def guessing(params, right_of_class_1):
    """Parameters that say class 0, but class 1 for that many of its own samples and for no other."""
    count = int(0.3 * N)
    threshold = (count - right_of_class_1 + 0.5) / 10
    weights = [np.zeros((4, 5)), np.zeros((3, 4))]
    biases = [np.zeros(4), np.array([0.0, 0.0, -50.0])]
    weights[0][0, 4], biases[0][0] = 1000, -1000 * threshold
    weights[1][1, 0] = 10
    return with_arrays(params, weights, biases)


@pytest.mark.parametrize(
    ("right_of_class_1", "epoch", "alive"),
    [
        # 39 of 77 samples are of class 0: 0.03 more are 2.3 samples.
        (0, 999, True),
        (0, 1000, False),
        (2, 1000, False),
        (2, 999, True),
        (3, 1000, True),
        (23, 1000, True),
        (0, 100_000, False),
        (3, 100_000, True),
    ],
)
def test_a_network_that_only_guesses_is_dead_after_1000_epochs(main, start, data, right_of_class_1, epoch, alive):
    state = start._replace(params=guessing(start.params, right_of_class_1), epoch=jnp.int32(epoch))
    _, snapshot = main(state, 0, OBSERVE)
    assert float(snapshot.train_accuracy) == pytest.approx((39 + right_of_class_1) / N)
    assert bool(snapshot.alive) == alive


def test_worse_than_guessing_is_dead_too(main, start):
    weights, biases = weights_and_biases(guessing(start.params, 0))
    biases[1] = np.array([0.0, 0.0, 50.0])  # always class 2
    state = start._replace(params=with_arrays(start.params, weights, biases), epoch=jnp.int32(1000))
    _, snapshot = main(state, 0, OBSERVE)
    assert float(snapshot.train_accuracy) == pytest.approx(15 / N)
    assert not snapshot.alive


@pytest.mark.parametrize("where", ["weight", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_dead_at_once(main, start, where, value):
    weights, biases = weights_and_biases(start.params)
    arrays = {"weight": [w.copy() for w in weights], "bias": [b.copy() for b in biases]}
    arrays[where][1].flat[0] = value
    state = start._replace(params=with_arrays(start.params, arrays["weight"], arrays["bias"]))
    _, snapshot = main(state, 0, OBSERVE)
    assert not snapshot.alive


# --- Segments ----------------------------------------------------------------------------------------------


def test_segments_in_a_row_are_one_segment(main, start):
    whole, seen = main(start, 4, OBSERVE)
    for parts in ([2, 2], [1, 3], [0, 4], [1, 1, 1, 1]):
        state = start
        for epochs in parts:
            state, snapshot = main(state, epochs, OBSERVE)
        assert_same(state, whole)
        assert_same(snapshot, seen)


def test_looking_changes_nothing(main, start):
    seen, unseen = main(start, 2, OBSERVE), main(start, 2, BLIND)
    assert_same(seen[0], unseen[0])
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(unseen[1]))
    assert int(seen[1].epoch) == 2
    rested, _ = main(start, 0, BLIND)
    assert_same(rested, start)


@pytest.mark.slow
def test_a_segment_of_several_slots(net, data, main, start):
    run = jax.jit(lambda state, slots: segment(net, BATCHES, data, state, slots, measure=measure, keep_parameters=True))
    slots = Slots(np.array([1, 2, 0, 1]), np.array([True, False, True, True]))
    together, snapshots = run(start, slots)
    state = start
    for i, (epochs, observe) in enumerate(zip(*slots, strict=True)):
        state, snapshot = main(state, epochs, observe)
        for a, b in zip(jax.tree.leaves(snapshots), jax.tree.leaves(snapshot), strict=True):
            np.testing.assert_allclose(np.asarray(a[i], float), np.asarray(b, float), rtol=1e-4, atol=1e-6)
    assert_parameters(together.params, *weights_and_biases(state.params))
    assert snapshots.epoch.tolist() == [1, 0, 3, 4]


def test_other_slots_compile_nothing(main, start):
    for epochs, observe in [(0, OBSERVE), (1, BLIND), (3, OBSERVE)]:
        state, _ = main(start, epochs, observe)
    main(state, 2, OBSERVE)
    main(state._replace(learning_rate=jnp.float32(0.7)), 1, OBSERVE)
    assert len(main.traces) == 1


def test_the_learning_rate_is_in_the_state(main, start, data):
    state = start._replace(learning_rate=jnp.float32(0.025))
    after, _ = main(state, 1, BLIND)
    batches = in_batches(np.asarray(epoch_order(jax.random.fold_in(start.key, 0), N)))
    assert_parameters(after.params, *descend(start, data.train, batches, 0.025))
    assert float(after.learning_rate) == pytest.approx(0.025)


def test_a_state_can_be_donated(net, data):
    run = jax.jit(
        lambda state, slots: segment(net, FULL, data, state, slots)[0],
        donate_argnums=0,
    )
    first = init(net, FULL, KEY)
    kept = weights_and_biases(jax.tree.map(jnp.copy, first.start))
    state = run(first, Slots(np.array([1]), np.array([False])))
    state = run(state, Slots(np.array([1]), np.array([False])))
    assert int(state.epoch) == 2
    assert_parameters(state.start, *kept, atol=0)
    assert any(leaf.is_deleted() for leaf in jax.tree.leaves(first.params))


def test_a_state_starts_from_its_key(net):
    one, again, other = init(net, BATCHES, KEY), init(net, BATCHES, KEY), init(net, BATCHES, jax.random.key(12))
    assert_same(one, again)
    assert (jax.random.key_data(one.key) != jax.random.key_data(other.key)).any()
    # Weights and orders come from different halves of the key.
    assert (jax.random.key_data(one.key) != jax.random.key_data(KEY)).any()
    assert_same(one.params, one.start)
    assert int(one.epoch) == 0
    assert float(one.learning_rate) == pytest.approx(0.1)


# --- Whole runs, one and many ------------------------------------------------------------------------------

RUN = TrainConfig(epochs=12, batch_size=BATCH, learning_rate=0.1, snapshots=5)


@pytest.fixture(scope="module")
def replicas(data):
    """Three networks in one program: keys and learning rates -> final states and snapshots."""
    one = lambda key, rate: train(network, RUN, data, key, learning_rate=rate, keep_parameters=True)  # noqa: E731
    return jax.jit(jax.vmap(one))


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(KEY, 3)


@pytest.fixture(scope="module")
def healthy(replicas, keys):
    return replicas(keys, jnp.array([0.1, 0.2, 0.3]))


def test_replicas_are_single_runs(data, keys, healthy):
    single = jax.jit(functools.partial(train, network, RUN, data, keep_parameters=True))
    states, snapshots = healthy
    state, alone = single(keys[0])  # with the learning rate of the config, 0.1
    for together, one in [(states.params, state.params), (snapshots._replace(alive=None), alone._replace(alive=None))]:
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=2e-6)


def test_snapshots_of_a_run(healthy):
    states, snapshots = healthy
    epochs = snapshot_epochs(12, 5)
    np.testing.assert_array_equal(snapshots.epoch, np.broadcast_to(epochs, (3, len(epochs))))
    np.testing.assert_array_equal(states.epoch, 12)
    assert snapshots.alive.all()
    assert (snapshots.train_loss[:, -1] < snapshots.train_loss[:, 0] - 0.05).all()
    for kept, last in zip(jax.tree.leaves(snapshots.params), jax.tree.leaves(states.params), strict=True):
        np.testing.assert_array_equal(kept[:, -1], last)


def test_replicas_differ_in_their_keys(healthy):
    _, snapshots = healthy
    assert len(set(snapshots.train_loss[:, 0].tolist())) == 3


def test_replicas_may_differ_in_their_learning_rates(replicas, keys, healthy):
    same = jnp.stack([keys[0]] * 3)
    states, snapshots = replicas(same, jnp.array([0.1, 0.2, 0.1]))
    loss = np.asarray(snapshots.train_loss)
    np.testing.assert_array_equal(loss[0], loss[2])
    assert loss[0, 0] == loss[1, 0]
    assert (np.abs(loss[0] - loss[1])[1:] > 1e-4).all()
    np.testing.assert_allclose(states.learning_rate, [0.1, 0.2, 0.1])
    np.testing.assert_array_equal(loss[0], healthy[1].train_loss[0])


def test_a_diverged_replica_is_dead_and_alone(replicas, keys, healthy):
    states, snapshots = replicas(keys, jnp.array([0.1, 1e30, 0.3]))
    assert snapshots.alive[0].all()
    assert snapshots.alive[2].all()
    assert snapshots.alive[1].tolist() == [True] + [False] * (snapshots.alive.shape[1] - 1)
    others = jnp.array([0, 2])
    for a, b in zip(jax.tree.leaves(snapshots), jax.tree.leaves(healthy[1]), strict=True):
        np.testing.assert_array_equal(a[others], b[others])
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(healthy[0].params), strict=True):
        np.testing.assert_array_equal(a[others], b[others])


class Images(nnx.Module):
    """A module of one's own, with a convolution."""

    columns = 18

    def __init__(self, *, rngs):
        self.look = nnx.Conv(1, 2, (2, 2), rngs=rngs)
        self.decide = nnx.Linear(18, 3, rngs=rngs)

    def __call__(self, x):
        seen = jnp.tanh(self.look(x))
        logits = self.decide(seen.reshape(len(x), self.columns))
        return logits, (seen, jax.nn.softmax(logits))


class AnyImages(Images):
    """The same, where the shape of nothing cannot be inferred."""

    columns = -1


@pytest.fixture(scope="module")
def all_to_train():
    """Images, and no test set."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = rng.normal(size=(48, 3, 3, 1)) * 0.1
    x[np.arange(48), y, y] += 1
    images = from_arrays(x, y)
    return TrainingData(images, subset(images, np.arange(0), "nothing"), images)


@pytest.fixture(scope="module")
def own_run(all_to_train):
    """Snapshots of one's own module on one's own data."""
    config = TrainConfig(epochs=30, batch_size=None, optimizer="adam", learning_rate=0.05, snapshots=2)
    return jax.jit(functools.partial(train, Images, config, all_to_train))(KEY)[1]


def test_ones_own_module_trains_on_ones_own_data(own_run):
    assert own_run.epoch.tolist() == [0, 1, 30]
    assert own_run.weight_norm.shape == (3, 2)
    assert own_run.train_accuracy[-1] > 0.95
    assert (own_run.weight_distance[-1] > 0.1).all()


def test_without_a_test_set_there_is_no_test_loss(own_run):
    assert np.isnan(own_run.test_loss).all()
    assert np.isnan(own_run.test_accuracy).all()
    assert np.isfinite(own_run.train_loss).all()
    assert own_run.alive.all()


def test_an_empty_test_set_does_not_reach_the_network(all_to_train):
    _, snapshots = jax.eval_shape(
        functools.partial(train, AnyImages, TrainConfig(epochs=1, batch_size=16), all_to_train), KEY
    )
    assert snapshots.test_loss.shape == (2,)
