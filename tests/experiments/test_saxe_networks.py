"""What Saxe et al. claim of networks: verdicts on planted paths, the figures of these, and settings that are wrong."""

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, SaxeActivations, SaxeFullBatch, SaxeMNIST, make_sweep
from ibjax.experiments.compression import falls_of, rank_trend
from ibjax.experiments.saxe_full_batch import lost_at_equal_losses
from ibjax.plane.schema import VARIABLES, make_plane
from ibjax.sweep import Grid
from ibjax.sweep.joined import join
from ibjax.training import snapshot_epochs

SIZE = {"replicas": 14, "epochs": 3000, "snapshots": 60}
EPOCHS = snapshot_epochs(SIZE["epochs"], SIZE["snapshots"])
TIME = np.log1p(EPOCHS)


def path(start, top, end, *, noise=0.01, layers=3, seed=0):
    """I(X;T) in bits that rises until epoch 100 and falls until 2000, (replicas, snapshots, layers)."""
    random = np.random.default_rng(seed)
    curve = np.interp(TIME, np.log1p([0, 100, 2000]), [start, top, end])
    return curve[:, None] + noise * random.normal(size=(SIZE["replicas"], TIME.size, layers))


LOSS = 1 - 0.9 * TIME / TIME[-1]


def planted_run(config, by_estimator, **arrays):
    """A run of a config with I(X;T) in bits by every estimator; what is not given is 1."""
    widths = config.widths[1:]
    sizes = {"replica": config.replicas, "snapshot": EPOCHS.size, "layer": len(widths)}
    whole = {}
    for name, variable in VARIABLES.items():
        shape = [sizes[dim] for dim in variable.dims if dim != "estimator"]
        if "estimator" in variable.dims:
            values = [by_estimator[e] if name == "complexity" else 1.0 for e in by_estimator]
            whole[name] = np.stack([np.broadcast_to(v, shape) for v in values]) * np.log(2)
        else:
            whole[name] = np.broadcast_to(arrays.get(name, 1.0), shape)
        whole[name] = whole[name].astype(variable.dtype)
    known = {
        "entropy_x": 12 * np.log(2), "entropy_y": np.log(2), "information_xy": np.log(2), "samples": 4096,
        "probe_batches": 13, "updates_per_epoch": 13, "title": "planted", "estimators": list(by_estimator),
        "layer_names": [*(f"T{n}" for n in range(1, len(widths))), "output"],
        "config": json.dumps(dataclasses.asdict(config) | {"chunk_size": config.replicas}),
    }  # fmt: skip
    return make_plane(whole, epochs=EPOCHS.tolist(), widths=widths, estimators=list(by_estimator), attrs=known)


def planted_sweep(config, run_of):
    """The joined results of a config's sweep, ``run_of`` making each group's."""
    sweep = make_sweep(config, Grid({}))
    attrs = {"title": sweep.title, "config": json.dumps(sweep.identity)}
    return join(sweep.axes, [(g, run_of(g.config)) for g in sweep.groups], {}, attrs, None).load()


ACTIVATIONS = SaxeActivations(
    **SIZE, widths=(12, 4, 3, 2), activations=("tanh", "relu"), scales=(1.0, 2.0), thresholds=(0.9,)
)
BATCHES = SaxeFullBatch(**SIZE, widths=(12, 4, 3, 2))
IMAGES = SaxeMNIST(**SIZE, widths=(784, 5, 4, 10))


def activations(*, tanh=5.0, relu=10.0, exact=12.0, rise=(2.0, 1.0), grows=0.6, speeds=1.0, noise=0.01):
    """Tanh that ends at these bits, ReLU likewise, tanh by its net input, saturating with so much and so fast."""
    own = np.linspace(0, 1, SIZE["replicas"])[:, None]
    step = np.interp(TIME, np.log1p([0, 2000]), [0, 1])
    share = 0.2 + grows * step * (0.7 + 0.3 * own)
    width = {1.0: rise[0], 2.0: rise[1]}

    def run_of(config):
        end = (tanh if config.activation == "tanh" else relu) - (config.activation == "tanh") * speeds * own[
            ..., None
        ] * step[:, None]
        bins = path(10 - width[config.scale], 10, 0, noise=noise)
        fall = np.interp(TIME, np.log1p([100, 2000]), [0, 1])[:, None]
        bins = bins + end * fall
        found = {e: bins for e in config.measure if "bits" not in e and "net-input" not in e}
        if config.activation == "tanh":
            found |= {e: path(12, 12, exact, noise=noise) for e in config.measure if e not in found}
        return planted_run(
            config, found, weight_norm=(1 + step)[:, None], gradient_batch_norm=(1 + speeds * own)[..., None]
        )

    found = planted_sweep(ACTIVATIONS, run_of)
    layered = np.stack([share, share, np.full(share.shape, np.nan)], axis=-1)[..., None]
    shape = (*found["train_loss"].shape[:2], *layered.shape)
    dims = ("activation", "scale", "replica", "snapshot", "layer", "threshold")
    return found.assign(saturated_share=(dims, np.broadcast_to(layered, shape))).assign_coords(threshold=[0.9])


def batches(*, full=5.0, batch=5.0, linear=10.0, turns=True):
    """Tanh that ends at these bits on the full batch and on batches, linear networks, and their gradients."""
    snr = 0.1 + 3 / (1 + (EPOCHS / 300) ** 2) if turns else 1 + 0.1 * np.random.default_rng(1).normal(size=EPOCHS.size)

    def run_of(config):
        end = (full if config.batch_size is None else batch) if config.activation == "tanh" else linear
        found = dict.fromkeys(config.measure, path(8, 10, end))
        return planted_run(config, found, gradient_mean=snr[:, None] * np.ones(3), gradient_std=1.0, train_loss=LOSS)

    return planted_sweep(BATCHES, run_of)


def images(*, tanh=5.0, relu=10.0, lift=1.0):
    """Networks that end at these bits, by a noise variance that lifts I(X;T) by so much a decade."""

    def run_of(config):
        end = tanh if config.activation == "tanh" else relu
        variances = {e: float(e.split("=")[1].split(",")[0]) for e in config.measure}
        names = {f"kernel:noise_variance={v},bound={e.split('bound=')[1]}": v for e, v in variances.items()}
        return planted_run(config, {e: path(8, 10, end) - lift * np.log10(v) for e, v in names.items()})

    return planted_sweep(IMAGES, run_of)


MAKERS = {"saxe-activations": activations, "saxe-full-batch": batches, "saxe-mnist": images}
FALSE = {
    "saxe-activations": {
        "tanh": 10.0, "relu": 5.0, "exact": 5.0, "rise": (1.0, 2.0), "grows": -0.1, "speeds": 0.0,
    },
    "saxe-full-batch": {"full": 10.0, "linear": 5.0, "turns": False},
    "saxe-mnist": {"tanh": 10.0, "relu": 5.0, "lift": 0.0},
}  # fmt: skip
OPEN = {"saxe-activations": {"speed-gradient", "speed-saturation", "falls-as-it-saturates"}}
"""What needs a second phase, which the false case does not have."""
SAME = {"same relu", "same linear"}
"""True in the false case too."""


def verdicts(name, found):
    return {claim.name: claim.verdict for claim in EXPERIMENTS[name].claims(found)}


@pytest.mark.parametrize("name", MAKERS)
def test_true_claims_are_reproduced(name):
    found = MAKERS[name]()
    assert {k: v for k, v in verdicts(name, found).items() if v != "reproduced"} == {}
    assert all(claim.preliminary for claim in EXPERIMENTS[name].claims(found))
    FigureCanvasAgg(EXPERIMENTS[name].figure(found)).draw()


@pytest.mark.parametrize("name", MAKERS)
def test_false_claims_are_refuted(name):
    found = verdicts(name, MAKERS[name](**FALSE[name]))
    unknown = OPEN.get(name, set())
    assert {k: v for k, v in found.items() if k not in unknown | SAME and v != "refuted"} == {}
    assert all(found[k] == "inconclusive" for k in unknown)
    assert all(found[k] == "reproduced" for k in SAME & found.keys())


def test_the_fall_is_the_planted_one():
    run = planted_run(IMAGES, {"kernel:noise_variance=0.1,bound=upper": path(8, 10, 5)})
    falls = falls_of(run)
    np.testing.assert_allclose(falls.fall, 5, atol=0.15)  # the peak is smoothed
    np.testing.assert_allclose(falls.rise, 2, atol=0.15)
    assert (abs(np.log2(falls.peak / 100)) < 0.3).all()
    assert np.isnan(rank_trend(np.ones(9), np.arange(9), np.ones(9, bool)))


def test_planes_are_compared_at_equal_losses():
    # The second is as far at epoch 1000 as the first at the end, with the same plane by loss; it goes on to lose more.
    key, size = BATCHES.measure[0], SIZE["replicas"]
    far = np.interp(TIME, [0, np.log1p(1000), TIME[-1]], [0, TIME[-1], TIME[-1] + 1])
    runs = [
        planted_run(
            BATCHES, {key: np.broadcast_to((10 - time)[:, None], (size, time.size, 3))}, train_loss=2 - time / 10
        )
        for time in (TIME, far)
    ]
    first, second = lost_at_equal_losses(*runs)
    np.testing.assert_allclose(first, TIME[-1], rtol=1e-5)
    np.testing.assert_allclose(second, first, atol=0.3)  # the snapshots about epoch 1000 lie so far apart
    both = lost_at_equal_losses(runs[0], runs[0].assign(alive=runs[0]["alive"].where(runs[0]["replica"] > 2, 0)))
    assert len(both[0]) == len(both[1]) == size - 3


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (SaxeActivations, {"activations": ("tahn",)}, "unknown activation 'tahn': did you mean 'tanh'"),
        (SaxeActivations, {"scales": (0.0,)}, "scales must be positive and finite, got 0.0"),
        (SaxeActivations, {"thresholds": (1.0,)}, "thresholds must lie between 0 and 1"),
        (SaxeActivations, {"widths": (12, 2)}, "widths must name a hidden layer"),
        (SaxeFullBatch, {"batch_sizes": (64, 256)}, "batch_sizes must name one size and None"),
        (SaxeFullBatch, {"factor": 0.0}, "factor must be positive and finite"),
        (SaxeMNIST, {"images": "mnits"}, "unknown images 'mnits': did you mean 'mnist'"),
        (SaxeMNIST, {"widths": (784, 10)}, "widths must go from the 784 pixels over a hidden layer"),
        (SaxeMNIST, {"measured_images": 1}, "measured_images must be 2 or more, got 1"),
    ],
)
def test_settings_that_make_no_sense(make, changes, message):
    with pytest.raises(InputError, match=message) as raised:
        make(**changes)
    assert "\n" not in str(raised.value)


def test_presets_train_the_networks_of_the_source():
    for name in MAKERS:
        presets = EXPERIMENTS[name].presets
        assert next(iter(presets)) == "paper"
        assert presets["quick"].widths == presets["paper"].widths
    mnist = EXPERIMENTS["saxe-mnist"].presets["paper"]
    assert (mnist.widths, mnist.learning_rate) == ((784, 1024, 20, 20, 20, 10), 1e-3)
    assert (mnist.optimizer, mnist.batch_size) == ("sgd", 128)
