"""EDGE on image networks: settings of the public code, verdicts on planted truth, and tiny runs of real files' form."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_files import idx, pretend, sha256

from ibjax.datasets import from_arrays
from ibjax.errors import InputError
from ibjax.estimators import EDGE, Binning, ByLayer
from ibjax.experiments import EXPERIMENTS, EdgeCIFAR10, EdgeMNIST, run, study_of
from ibjax.experiments import edge_images as module
from ibjax.experiments.edge_images import NETWORKS, change_of, claims, figure
from ibjax.experiments.paths import Paths
from ibjax.plane import make_plane

BITS = math.log(2)
ENDS = (13.05, 8.20, 6.98, 6.09)
DRAW = np.random.default_rng(3)


def images_of(shape, count):
    """Images of ten classes, as a reader returns them."""
    return from_arrays(DRAW.uniform(size=(count, *shape)), np.arange(count) % 10, name="images")


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """Take random images for those of MNIST and CIFAR-10."""

    def reader(shape):
        return lambda folder, split: images_of(shape, {"train": 260, "test": 20}[split])

    monkeypatch.setattr(module, "_LOAD", {EdgeMNIST: reader((28, 28, 1)), EdgeCIFAR10: reader((32, 32, 3))})


def planted(
    network="mlp-tanh",
    experiment="edge-mnist",
    replicas=23,
    lost=(1.0, 1.0, 1.0, 1.0),
    lost_by_rank=(1.0, 1.0, 1.0, 1.0),
    relevance_change=0.0,
    ends=ENDS,
    spread=0.02,
    samples=10_000,
    epochs=43,
    images=None,
):
    """A run whose layers end at ``ends`` after they lost so many bits, by its own gammas, by rank and by gamma 1."""
    times = np.arange(epochs + 1)
    fall = np.clip((times - 5) / 10, 0, 1)  # the peak lasts until epoch 5
    draw = np.random.default_rng(1)
    layers = [*ends, 3.0]

    def path(loss):
        return np.array(layers)[:, None] + np.append(loss, 0.0)[:, None] * (1 - fall)

    complexity = np.stack([path(np.array(loss)) for loss in (lost, lost_by_rank, lost)])[:, None]
    noise = spread * draw.standard_normal((3, replicas, 5, 1))
    relevance = np.broadcast_to(3.2 + relevance_change * fall, (3, replicas, 5, epochs + 1))
    arrays = {"complexity": complexity + noise, "relevance": relevance + noise / 10}
    arrays = {name: np.moveaxis(values, -1, 2).astype(np.float32) * BITS for name, values in arrays.items()}
    arrays["alive"] = np.ones((replicas, epochs + 1), bool)
    arrays["train_accuracy"] = np.full((replicas, epochs + 1), 0.98, np.float32)
    config = {"experiment": experiment, "network": network, "gammas": [1.0], "images": images}
    return make_plane(
        arrays,
        epochs=times.tolist(),
        widths=[1024, 20, 20, 20, 10],
        estimators=["edge by layer", "edge:rule=rank", "edge:rule=code,members=10,gamma=1,U=20,epsilon=0"],
        attrs={
            "title": "MNIST, tanh 784-1024-20-20-20-10",
            "config": config,
            "units": "nats",
            "samples": samples,
            "entropy_x": math.log(samples),
            "entropy_y": math.log(10),
            "information_xy": math.nan,
            "updates_per_epoch": 469,
        },
    )


def verdicts(found):
    return {claim.name.removesuffix(" mlp-tanh"): claim.verdict for claim in claims(found)}


ALL = {
    "compression by its own gamma for every layer",
    "compression by rule rank",
    "compression by gamma 1",
    "relevance-kept",
    "bandwidth rule rank",
    "bandwidth gamma 1",
    *(f"end of layer {layer}" for layer in (1, 2, 3, 4)),
}


def test_all_claims_are_reproduced_where_all_is_as_claimed():
    found = verdicts(planted())
    assert set(found) == ALL
    assert set(found.values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"lost": (0.0,) * 4, "lost_by_rank": (0.0,) * 4},
         {name for name in ALL if name.startswith("compression")}),
        ({"lost_by_rank": (0.0,) * 4}, {"compression by rule rank", "bandwidth rule rank"}),
        # Two of four are not most.
        ({"lost_by_rank": (1.0, 1.0, 0.0, 0.0)}, {"compression by rule rank", "bandwidth rule rank"}),
        ({"relevance_change": -0.5}, {"relevance-kept"}),
        ({"ends": (13.05, 8.2, 6.98, 7.2)}, {"end of layer 4"}),
    ],
)  # fmt: skip
def test_what_is_not_so_is_refuted(changes, names):
    found = verdicts(planted(**changes))
    assert {name for name, verdict in found.items() if verdict == "refuted"} == names


def test_few_networks_settle_nothing():
    for replicas in (1, 3):
        found = verdicts(planted(replicas=replicas))
        assert {found[name] for name in ALL if name.startswith("compression")} == {"inconclusive"}
    assert set(verdicts(planted(replicas=1)).values()) == {"inconclusive"}
    assert verdicts(planted(spread=2.0))["end of layer 1"] == "inconclusive"
    # Nothing is lost, so that nothing can be said of what is kept.
    assert verdicts(planted(lost=(0.0,) * 4))["relevance-kept"] == "inconclusive"


def test_ends_are_judged_where_they_were_published():
    def ended(**changes):
        return any(claim.name.startswith("end") for claim in claims(planted(**changes)))

    assert ended()
    assert ended(network="cnn")
    assert not ended(network="mlp-relu")
    assert not ended(samples=2000)
    assert not ended(experiment="edge-cifar10")


def test_what_is_lost_is_not_the_largest_of_noise():
    noise = np.random.default_rng(0).standard_normal((400, 3, 60))
    change = change_of(Paths(np.arange(60), noise, noise, 1.0, 1.0))
    assert change.lost.shape == (400, 2)
    # Each replica's own peak would say 2.3; where others have theirs, a replica has a little less than its mean.
    assert -0.5 < change.lost.mean() < 0.1
    alone = change_of(Paths(np.arange(60), noise[:1], noise[:1], 1.0, 1.0))
    np.testing.assert_allclose(alone.lost, noise[:1, :2].max(axis=-1) - noise[:1, :2, -5:].mean(axis=-1))


def test_a_masked_network_is_left_out():
    found = planted(replicas=23)
    found["alive"][0, -1] = False
    found["complexity"][:, 0] = np.nan
    assert verdicts(found)["compression by rule rank"] == "reproduced"
    found["alive"][:] = False
    with pytest.raises(InputError, match="no network has learnt"):
        claims(found)


def test_networks_at_chance_are_left_out():
    """Though they are alive: a thousand epochs are more than these studies have."""
    found = planted(replicas=12)
    found["complexity"][:, :6] = found["complexity"][:, :6, -1:]  # these lose nothing
    assert verdicts(found)["compression by rule rank"] == "inconclusive"
    found["train_accuracy"][:6] = 0.12
    assert verdicts(found)["compression by rule rank"] == "reproduced"
    found["train_accuracy"][:] = 0.12
    for judge in (claims, figure):
        with pytest.raises(InputError, match="no network has learnt"):
            judge(found)


@pytest.mark.parametrize("replicas", [1, 2, 23])
def test_the_figure_draws(replicas):
    assert len(figure(planted(replicas=replicas)).subfigs) == 1
    assert figure(planted(replicas=replicas, experiment="edge-cifar10", network="mlp-relu")).subfigs[0].axes


def test_settings_are_those_of_the_public_code():
    for network, batch, steps, widths in (
        ("cnn", 100, 12_000, (3136, 1568, 784, 256, 10)),
        ("mlp-tanh", 128, 12_000, (1024, 20, 20, 20, 10)),
        ("mlp-relu", 128, 12_000, (1024, 20, 20, 20, 10)),
    ):
        study = study_of(EdgeMNIST(network=network, measured=200))
        assert (study.config.batch_size, study.config.optimizer, study.config.learning_rate) == (batch, "adam", 0.003)
        assert study.config.epochs == math.ceil(steps / 3)  # of 260 images
        assert study.widths == widths
        assert (study.replicas, study.chunk) == (23, 1)
        assert len(study.data.measured) == 200
        np.testing.assert_array_equal(study.data.measured.y, np.arange(200) % 10)
        own = study.estimators[0]
        assert [
            (e.estimator.gamma, e.estimator.U, e.estimator.members, e.estimator.x_gamma) for e in own.complexity
        ] == [(g, 20.0, 10, 0.2) for g in NETWORKS[network].gammas]
        images = np.asarray(study.data.measured.x, np.float32).reshape(200, -1)
        expected = EDGE("code").project(images).columns
        np.testing.assert_array_equal(own.complexity[0].images.columns, expected)
        assert [(e.gamma, e.U, e.epsilon) for e in own.relevance] == [
            (g, 10.0, 0.2) for g in NETWORKS[network].label_gammas
        ]
        assert str(study.estimators[1]) == "edge:rule=rank"
    assert study_of(EdgeCIFAR10(network="cnn", measured=200)).widths == (4096, 2048, 1024, 256, 10)
    assert study_of(EdgeCIFAR10(network="mlp-relu", measured=200)).data.train.x.shape == (260, 3072)


def test_images_are_hashed_as_one_of_two_variables():
    study = study_of(EdgeMNIST(network="mlp-tanh", measured=200, gammas=(0.7,)))
    t = jnp.asarray(DRAW.standard_normal((200, 3)), jnp.float32)
    one = study.estimators[2].at(0)
    found = one.layer(t, study.data.measured.y)
    expected = EDGE("code", 10, 0.7, 20.0, x_gamma=0.2)(study.data.measured.x, t)
    np.testing.assert_allclose(found.complexity, expected.value, rtol=1e-6)
    # Not as constants of a program, at which the compiler would work for half a minute.
    program = jax.make_jaxpr(lambda t: one.layer(t, study.data.measured.y))(t)
    assert max(np.size(constant) for constant in program.consts) < study.data.measured.x.size / 50
    apart = EDGE("code", 10, 0.7, 20.0).layer(t, study.data.measured.y).complexity
    assert found.complexity < apart - 0.1
    assert "x_gamma=0.2" in str(study.estimators[2])
    assert len({str(estimator) for estimator in study.estimators}) == 3


def test_a_quick_preset_has_the_same_networks():
    for name in ("edge-mnist", "edge-cifar10"):
        presets = EXPERIMENTS[name].presets
        assert next(iter(presets)) == "paper"
        assert set(presets["quick"].networks) <= set(presets["paper"].networks)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"networks": ("mpl-tanh",)}, "did you mean 'mlp-tanh'"),
        ({"networks": ()}, "one or more"),
        ({"iterations": 0}, "iterations must be 1"),
        ({"images": 0}, "images must be 1"),
        ({"measured": 10}, "20 images or more"),
        ({"gammas": ()}, "one or more"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(changes, match):
    with pytest.raises(InputError, match=match) as caught:
        EdgeMNIST(**changes)
    assert "\n" not in str(caught.value)


def test_more_measured_than_there_are_is_refused():
    with pytest.raises(InputError, match="at most the 260"):
        study_of(EdgeMNIST())
    with pytest.raises(InputError, match="gamma must be"):
        study_of(EdgeMNIST(measured=200, gammas=(0.0,)))


TINY = {"replicas": 2, "iterations": 6, "measured": 40, "gammas": (1.0,), "members": 2, "chunk_size": 2}


@pytest.mark.slow
def test_a_tiny_run(monkeypatch):
    # By bins, which compile in no time; EDGE itself runs in the slow test.
    bins = (ByLayer((Binning(bins=8),)), Binning(bins=8), Binning(bins=30))
    monkeypatch.setattr(module, "estimators_of", lambda config, measured: bins)
    monkeypatch.setattr(module, "DEAD_MARGIN", -1.0)  # of random labels nothing is learnt in six steps
    found = run(EdgeMNIST(networks=("mlp-relu",), **TINY), progress=False)
    assert dict(found.complexity.sizes) == {
        "network": 1, "estimator": 3, "replica": 2, "snapshot": 3, "layer": 5
    }  # fmt: skip
    assert found.complexity.notnull().all()
    judged = claims(found)
    assert all(claim.preliminary for claim in judged)
    assert len(judged) == 6
    assert figure(found).subfigs


@pytest.mark.slow
@pytest.mark.parametrize("config", [EdgeMNIST(**TINY), EdgeCIFAR10(**TINY)])
def test_every_network_runs(config, monkeypatch):
    monkeypatch.setattr(module, "DEAD_MARGIN", -1.0)
    found = run(config, progress=False)
    assert found["finished"].all()
    assert found["network"].values.tolist() == list(NETWORKS)
    assert len(claims(found)) == 18
    assert len(figure(found).subfigs) == 3


def test_images_are_read_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.undo()
    labels = (np.arange(60) % 10).astype(np.uint8)
    photos = np.concatenate([labels[:, None], DRAW.integers(256, size=(60, 3072))], axis=1).astype(np.uint8).tobytes()
    contents = {
        "train-images-idx3-ubyte": idx(DRAW.integers(256, size=(60, 28, 28), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx(labels),
        "t10k-images-idx3-ubyte": idx(DRAW.integers(256, size=(60, 28, 28), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx(labels),
        "test_batch.bin": photos,
        **{f"data_batch_{i}.bin": photos for i in range(1, 6)},
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    hashes = {name: sha256(content) for name, content in contents.items()}
    for name in ("mnist", "cifar10"):
        pretend(monkeypatch, name, contents=hashes)
    base = {"data": str(tmp_path), "measured": 40, "network": "mlp-tanh"}
    assert study_of(EdgeMNIST(**base)).data.train.x.shape == (60, 784)
    study = study_of(EdgeCIFAR10(**base, images=100))
    assert [len(part) for part in study.data] == [100, 60, 40]
    assert study.widths[0] == 1024
    assert dataclasses.asdict(EdgeCIFAR10(**base))["data"] == str(tmp_path)
