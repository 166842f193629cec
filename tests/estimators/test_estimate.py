"""The verbs around the estimators: one call, many pairs, names, units, advice; and binned samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ibjax
from ibjax import estimators, neural
from ibjax.errors import InputError
from ibjax.estimators import (
    ADVICE,
    EDGE,
    ESTIMATORS,
    KSG,
    LAYER_ESTIMATORS,
    Binning,
    Gaussian,
    GaussianCopula,
    KernelBounds,
    LayerEstimator,
    MIEstimate,
    PlugIn,
    cells,
    mapping,
    parse,
    parse_layer,
)
from ibjax.estimators.parse import TRAINED

KEY = jax.random.key(0)


def normal(n=400, seed=0, pairs=None):
    shape = (2, n) if pairs is None else (2, pairs, n, 1)
    x, e = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return x, x + e


# --- One call ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_units_and_errors():
    x, y = normal()
    nats = ibjax.mutual_information(x, y, "gaussian", units="nats")
    bits = ibjax.mutual_information(x, y, "gaussian")
    np.testing.assert_allclose([nats.value, nats.std_error], np.log(2) * np.array([bits.value, bits.std_error]), 1e-6)
    own = ibjax.mutual_information(x, y, Gaussian(), units="nats", error=None)
    np.testing.assert_allclose(own.std_error, Gaussian()(x, y).std_error)
    assert ibjax.mutual_information(x, y, KSG(), error=None).std_error is None
    for error in ("subsampling", "bootstrap"):
        assert 0 < ibjax.mutual_information(x, y, "gaussian", error=error, key=KEY).std_error < 0.2


def test_diagnostics_that_are_informations_have_the_units_too():
    x, y = normal()
    ceiling = KSG()(x, y).diagnostics["ceiling"]
    found = KSG()(x, y).to("bits")
    np.testing.assert_allclose(found.diagnostics["ceiling"], ceiling / np.log(2), rtol=1e-6)
    assert found.diagnostics["starved"].dtype == bool


def test_advice_is_of_what_is_set():
    found = MIEstimate(jnp.zeros(()), None, {"constant": jnp.array(True), "starved": jnp.array(False)})
    assert found.advice() == [ADVICE["constant"]]
    assert KSG()(np.ones(50), normal(50)[0]).advice() == [ADVICE["constant"]]


@pytest.mark.slow
def test_every_caution_has_its_advice():
    """A truth value among the diagnostics that nobody explains would be of no use."""
    x, y = normal()
    label = (y > 0).astype(int)
    found = [
        KSG()(x, y),
        EDGE()(x, y),
        EDGE(rule="code")(x, y),
        Gaussian()(x, y),
        Binning()(x, y),
        PlugIn()(label, label),
    ]
    found += [KernelBounds()(x, label), GaussianCopula()(x, y)]
    for estimate in found:
        flags = {name for name, value in estimate.diagnostics.items() if value.dtype == bool}
        assert flags <= set(ADVICE)
        assert "non_finite" in flags


# --- Names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "estimator"),
    [
        ("ksg", KSG()),
        ("ksg:k=5,variant=2", KSG(k=5, variant=2)),
        ("gaussian:bias_correction=false", Gaussian(bias_correction=False)),
        ("gaussian-copula", GaussianCopula()),
        ("plugin:correction=chao-shen", PlugIn("chao-shen")),
        ("edge:rule=code,gamma=0.5", EDGE(rule="code", gamma=0.5)),
        ("kernel:noise_variance=0.01", KernelBounds(0.01)),
    ],
)
def test_names(text, estimator):
    assert parse(text) == estimator


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ksgg", "unknown estimator 'ksgg': did you mean 'ksg'"),
        ("ksg:kk=3", "unknown setting of ksg 'kk': did you mean 'k'"),
        ("ksg:k=3.5", "k of ksg must be a whole number, got '3.5'"),
        ("ksg:k=0", "k must be a positive whole number"),
        ("gaussian:bias_correction=yes", "bias_correction of gaussian must be true or false"),
        ("plugin:correction=nbs", "did you mean 'nsb'"),
        ("info-nce", r"info-nce trains a network: in Python, call ibjax.neural.InfoNCE\(\)\(x, y, key\)"),
        ("plugin:alphabet=3", "unknown setting of plugin 'alphabet'"),
    ],
)
def test_wrong_names(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_estimators_that_train_are_pointed_to():
    assert all(hasattr(neural, name) for name in TRAINED.values())


def test_layers_are_measured_by_those_that_can():
    noisy = {"noisy-gaussian", "noisy-ksg", "noisy-weighted-kl"}
    measured = {"binning", "edge", "kernel", "plugin", "quantised", "renyi"} | noisy
    assert set(LAYER_ESTIMATORS) == measured < set(ESTIMATORS)
    for name in LAYER_ESTIMATORS:
        assert isinstance(parse_layer(name), LayerEstimator)
    with pytest.raises(InputError, match="ksg measures samples, not layers: use noisy-ksg"):
        parse_layer("ksg")
    with pytest.raises(InputError, match="gaussian-copula measures samples, not layers: choose from binning"):
        parse_layer("gaussian-copula")
    with pytest.raises(InputError, match="did you mean 'kernel'"):
        parse_layer("kernl")


# --- Many pairs --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("est", [KSG(), Gaussian(), Binning(bins=6, range="neuron")], ids=repr)
@pytest.mark.parametrize("memory", [1, 2**30])
def test_many_pairs_are_a_loop(est, memory):
    xs, ys = normal(100, pairs=5)
    found = estimators.map(est, xs, ys, memory=memory)
    expected = [float(est(x, y).value) for x, y in zip(xs, ys, strict=True)]
    np.testing.assert_allclose(found.value, expected, atol=1e-6)


def test_a_second_call_compiles_nothing():
    xs, ys = normal(100, pairs=3)
    estimators.map(Gaussian(), xs, ys)
    programs = mapping._each._cache_size(), mapping._one._cache_size()
    estimators.map(Gaussian(), ys, xs)
    assert (mapping._each._cache_size(), mapping._one._cache_size()) == programs


def test_real_labels_of_a_layer_are_refused(unchecked):
    """They are neither classes nor rows p(y|x), whichever estimator reads them."""
    t, y = np.zeros((5, 2), np.float32), np.arange(5.0)
    for name in LAYER_ESTIMATORS:
        with pytest.raises(InputError, match="labels must be integers or rows"):
            parse_layer(name).layer(t, y)


@pytest.mark.slow
def test_pairs_of_labels_and_a_pair_that_is_not_finite():
    xs, ys = normal(100, pairs=4)
    xs[2, 5] = np.nan
    found = estimators.map(KSG(), xs, (ys[..., 0] > 0).astype(int))
    assert np.isnan(found.value).tolist() == [False, False, True, False]
    assert found.diagnostics["non_finite"].tolist() == [False, False, True, False]


@pytest.mark.slow
def test_every_pair_has_a_key_of_its_own():
    xs, ys = normal(100, pairs=2)
    rule = EDGE(rule="published")
    found = estimators.map(rule, xs, ys, KEY).value
    expected = [float(rule(xs[i], ys[i], jax.random.fold_in(KEY, i)).value) for i in range(2)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shapes", "settings", "message"),
    [
        (((3, 50, 1), (2, 50, 1)), {}, r"agree in pairs and samples, got \(3, 50\) and \(2, 50\)"),
        (((50,), (50,)), {}, r"xs must have shape \(pairs, n\)"),
        (((0, 50), (0, 50)), {}, "none of them 0"),
        (((2, 50), (2, 50)), {"memory": 0}, "memory must be a positive number of bytes"),
        (((2, 3), (2, 3)), {}, "x has 3 samples, 4 or more"),
    ],
)
def test_pairs_that_do_not_match(shapes, settings, message):
    with pytest.raises(InputError, match=message):
        estimators.map(KSG(), np.ones(shapes[0]), np.ones(shapes[1]), **settings)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "kgs"}, "did you mean 'ksg'"),
        ({"units": "bit"}, "did you mean 'bits'"),
        ({"error": "jacknife"}, "did you mean 'jackknife'"),
        ({"error": "bootstrap"}, "key is missing"),
        ({"method": "plugin"}, "x must be integers"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        ibjax.mutual_information(*normal(50), **settings)


# --- Binned samples ----------------------------------------------------------------------------------------


def counted(x, y):
    """I(X;Y) in nats of rows that are counted with NumPy."""
    ids = [np.unique(np.reshape(a, (len(a), -1)), axis=0, return_inverse=True)[1].reshape(-1) for a in (x, y)]
    table = np.zeros([i.max() + 1 for i in ids])
    np.add.at(table, tuple(ids), 1 / len(x))
    of_x, of_y = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    return (table * np.log(np.where(table > 0, table / (of_x * of_y), 1))).sum(), np.count_nonzero(table)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [(1, 1), (3, 2), (6, 5), (12, 20)], ids=str)
def test_binned_samples_are_counted(columns):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (300, columns[0])).astype(np.float32)
    y = np.tanh(x[:, :1] + 0.5 * rng.normal(size=(300, columns[1]))).astype(np.float32)
    found = Binning(bins=30)(x, y)
    index = [np.floor((a - np.float32(-1)) / np.float32(2) * np.float32(30)) for a in (x, y)]
    value, occupied = counted(*index)
    np.testing.assert_allclose(found.value, value, atol=1e-6)
    assert int(found.diagnostics["cells"]) == occupied
    np.testing.assert_allclose(Binning(bins=30)(y, x).value, found.value, atol=1e-6)


def test_binned_labels():
    x, y = normal(500)
    label = np.where(y > 0, 2**40, -7)
    value, _ = counted(np.clip(np.floor((x + 3) / 6 * 8), 0, 7), label)
    found = Binning(bins=8, low=-3.0, high=3.0)(x, label)
    np.testing.assert_allclose(found.value, value, atol=1e-6)
    bits, few = np.random.default_rng(1).integers(0, 2, (500, 12)).astype(bool), (label > 0).astype(int)
    for pair in ((bits, x), (x, bits), (bits, bits), (bits, label), (bits.astype(int), few), (bits[:, :3], x)):
        index = [np.clip(np.floor((a + 3) / 6 * 8), 0, 7) if a.dtype == np.float32 else a for a in pair]
        found = Binning(bins=8, low=-3.0, high=3.0)(*pair)
        np.testing.assert_allclose(found.value, counted(*index)[0], atol=2e-6)
        assert int(found.diagnostics["cells"]) == counted(*index)[1]
    both = Binning()(label, label)
    np.testing.assert_allclose(both.value, counted(label, label)[0], atol=1e-6)


def test_the_bias_of_binned_samples_is_millers():
    rng = np.random.default_rng(0)
    many = [Binning(bins=5, low=0.0)(*rng.uniform(size=(2, 500)).astype(np.float32)) for _ in range(50)]
    bias, values = (np.mean(list(of)) for of in zip(*[(e.diagnostics["bias"], e.value) for e in many], strict=True))
    assert abs(values / bias - 1) < 0.15
    np.testing.assert_allclose(bias, 16 / 1000, rtol=0.02)


def test_cautions_of_binned_samples():
    x, y = normal(500)
    assert Binning()(x, y).diagnostics["clipped"]
    assert "clipped" not in Binning(range="neuron")(x, y).diagnostics
    assert Binning(bins=200, range="neuron")(x, y).diagnostics["undersampled"]
    found = Binning(range="neuron")(x, np.full(500, 0.3, np.float32))
    assert found.diagnostics["constant"]
    assert float(found.value) == 0
    assert np.isnan(jax.jit(Binning())(jnp.asarray(x).at[0].set(jnp.inf), y).value)


def test_settings_of_bins_are_leaves():
    x, y = normal(300)
    values = jax.jit(jax.vmap(lambda width: Binning(rule="width", width=width)(x, y).value))(jnp.array([0.1, 0.5, 2.0]))
    expected = [float(Binning(rule="width", width=w)(x, y).value) for w in (0.1, 0.5, 2.0)]
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_wrong_samples_to_bin():
    x, y = normal(50)
    for bad, message in (
        ((x, y[:-1]), "numbers of samples differ"),
        ((np.where(x > 1, np.nan, x), y), "x has a value that is not finite"),
        ((x[:1], y[:1]), "x has 1 samples, 2 or more"),
        ((x[:, None][:, :0], y), "x has no column"),
        ((list("ab"), y[:2]), "x must be real numbers"),
    ):
        with pytest.raises(InputError, match=message):
            Binning()(*bad)
    with pytest.raises(InputError, match="range='run' is for layers"):
        Binning(range="run")(x, y)
    with pytest.raises(InputError, match="bins must be a whole number"):
        Binning(bins=3.0)(x, y)


@pytest.mark.slow
def test_a_table_whose_keys_fit_together_and_one_whose_do_not():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, (200, 2)), rng.integers(0, 4, (200, 1))
    with jax.enable_x64(True):
        for sizes in ((3, 4), (None, 4), (None, None)):
            found = cells.table(jnp.asarray(x), sizes[0], jnp.asarray(y), sizes[1])
            value, occupied = counted(x, y)
            np.testing.assert_allclose(found.information, value, atol=1e-12)
            assert (int(found.occupied_x), int(found.occupied_y), int(found.occupied)) == (9, 4, occupied)
