"""Memorising: what is corrupted, the source's networks, verdicts on planted runs, and a tiny real one."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest
from images_planted import joined, tiny_images

from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, RandomLabels, run, study_of
from ibjax.experiments import images as readers
from ibjax.experiments.random_labels import CONVENTION, NETWORKS, PRESETS, Case, claims, figure, parse_case
from ibjax.networks import SmallAlexNet, SmallInception

CASES = (
    "none", "partial_labels=0.4", "random_labels", "shuffled_pixels", "random_pixels", "gaussian_pixels",
    "random_labels+weight_decay", "random_labels+dropout", "random_labels+augmentation",
)  # fmt: skip
EPOCHS = tuple(range(0, 61, 2))
LN_N = math.log(256)


def planted(
    *, fits=True, learns=0.8, slower=10.0, tells=0.1, keeps=1.0, falls=2.0, replicas=6, epochs=EPOCHS, **config
):
    """Networks that fit later by ``slower`` epochs where all labels are random, and then keep more of X."""

    def values(settings, rng):
        case = parse_case(settings["case"])
        time = np.array(epochs, np.float64)
        own = rng.standard_normal((replicas, 1))
        start = 8 + slower * case.share + own
        top = 1.0 if fits else 0.7
        train = np.clip(0.1 + time / start, 0, 1) * top
        random = case.corruption in ("random_labels", "gaussian_pixels")
        test = np.where(random, tells, learns - 0.5 * case.share) + 0.005 * rng.standard_normal((replicas, len(time)))
        after = np.clip((time - 10) / 30, 0, 1)
        hidden = (7.0 + keeps * case.share - falls * after)[:, None] * np.ones(2) / math.log2(math.e)
        complexity = hidden + 0.01 * rng.standard_normal((1, replicas, len(time), 2))
        return {"train_accuracy": train, "test_accuracy": test, "complexity": complexity, "relevance": complexity / 4}

    return joined(
        {"network": ("mlp-1x512",), "case": CASES},
        values,
        replicas=replicas,
        epochs=epochs,
        widths=(512, 10),
        config={"dataset": "mnist", "train_images": 512, "test_images": 1000, **config},
        attrs={"title": "planted, MLP", "samples": 256, "entropy_x": LN_N, "entropy_y": math.log(10),
               "information_xy": math.nan, "updates_per_epoch": 8},
    )  # fmt: skip


def verdicts(found):
    return {claim.name.removesuffix(" mlp-1x512"): claim.verdict for claim in claims(found)}


def test_all_is_reproduced_where_all_is_as_claimed():
    found = verdicts(planted())
    assert set(found.values()) == {"reproduced"}
    assert {name for name in found if name.startswith("fits")} == {
        "fits true labels", "fits random labels", "fits shuffled pixels", "fits random pixels", "fits Gaussian pixels",
        "fits random labels with weight decay", "fits random labels with dropout",
        "fits random labels with augmentation",
    }  # fmt: skip
    assert all(claim.preliminary for claim in claims(planted()))  # MNIST, and one network


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"slower": -6.0}, {"slower"}),
        ({"slower": 45.0}, {"not-much-slower"}),
        ({"learns": 0.1, "tells": 0.9}, {"chance random labels", "chance Gaussian pixels", "generalises"}),
        ({"keeps": -1.0}, {"keeps-more"}),
        ({"falls": -2.0}, {"learning-compresses", "memorising-compresses"}),
    ],
)
def test_what_is_not_so_is_refuted(changes, names):
    assert {name for name, verdict in verdicts(planted(**changes)).items() if verdict == "refuted"} >= names


def test_networks_that_do_not_fit_are_censored():
    found = verdicts(planted(fits=False))
    assert {found[name] for name in found if name.startswith("fits")} == {"refuted"}
    # Nothing is ever fitted, so that nothing is known of the order; no true labels, no comparison with them.
    assert found["slower"] != "reproduced"
    assert found["not-much-slower"] == "inconclusive"
    assert set(verdicts(planted(replicas=1)).values()) == {"inconclusive"}


def test_the_figure_draws():
    assert len(figure(planted()).subfigs) == 1
    assert figure(planted(fits=False, replicas=1)).subfigs[0].axes


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("random_label", "did you mean 'random_labels'"),
        ("none+dropot", "did you mean 'dropout'"),
        ("partial_labels", "takes a share"),
        ("random_labels=0.5", "takes a share"),
        ("partial_labels=half", "number from 0 to 1"),
        ("partial_labels=1.5", "number from 0 to 1"),
        ("partial_labels=nan", "number from 0 to 1"),
    ],
)
def test_cases_that_make_no_sense_are_refused(text, match):
    with pytest.raises(InputError, match=match) as caught:
        RandomLabels(cases=(text,))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"networks": ()},
        {"cases": ()},
        {"measured_images": 1},
        {"dropout": 0.0},
        {"weight_decay": 0.0},
        {"dataset": "x"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(InputError):
        RandomLabels(**changes)


def test_cases_are_read():
    assert parse_case("none") == Case("none", 0.0, "none")
    assert parse_case("random_labels") == Case("random_labels", 1.0, "none")
    assert parse_case("partial_labels=0.25+dropout") == Case("partial_labels", 0.25, "dropout")


@pytest.fixture
def tiny(monkeypatch):
    """Tiny images, of which half are measured."""
    monkeypatch.setitem(readers.IMAGES, "mnist", tiny_images(n=80))
    return RandomLabels(
        dataset="mnist", measured_images=40, replicas=2, epochs=2, batch_size=20, networks=("mlp-1x512",),
        cases=("none", "random_labels", "random_labels+dropout"), snapshots=3, chunk_size=2,
    )  # fmt: skip


def labels_of(config, case):
    data = study_of(dataclasses.replace(config, network="mlp-1x512", case=case)).data
    return tuple(np.asarray(part.y) for part in data)


def test_labels_and_pixels_are_those_of_the_case(tiny):
    true, test, measured = labels_of(tiny, "none")
    np.testing.assert_array_equal(measured, true[:40])
    changed = [(labels_of(tiny, f"partial_labels={part}")[0] != true) for part in (0.2, 0.5, 0.9)]
    assert all((less <= more).all() for less, more in itertools.pairwise(changed))  # nested
    random, random_test, random_measured = labels_of(tiny, "random_labels")
    assert 0.8 < np.mean(random != true) < 1  # 0.9 of 80
    assert (random[:40] != random_test[:40]).any()
    np.testing.assert_array_equal(random_measured, random[:40])
    assert (random_test != test).any()
    data = study_of(dataclasses.replace(tiny, network="mlp-1x512", case="shuffled_pixels")).data
    plain = study_of(dataclasses.replace(tiny, network="mlp-1x512", case="none")).data
    order = [np.flatnonzero(plain.train.x[0].ravel() == v)[0] for v in data.train.x[0].ravel()]
    for after, before in zip(data, plain, strict=True):
        np.testing.assert_array_equal(
            np.asarray(after.x).reshape(-1, 36), np.asarray(before.x).reshape(-1, 36)[:, order]
        )


def test_the_networks_are_the_source_s(monkeypatch):
    monkeypatch.setitem(readers.IMAGES, "cifar10", tiny_images(n=200, shape=(32, 32, 3)))
    assert {name: setting.learning_rate for name, setting in NETWORKS.items()} == {
        "inception": 0.1, "alexnet": 0.01, "mlp-3x512": 0.01, "mlp-1x512": 0.01,
    }  # fmt: skip
    assert (NETWORKS["inception"].kind, NETWORKS["alexnet"].kind) == (SmallInception, SmallAlexNet)  # counted elsewhere
    for name, count in {"mlp-3x512": 1_735_178, "mlp-1x512": 1_209_866}.items():
        study = study_of(RandomLabels(network=name, measured_images=100))
        params = jax.eval_shape(study.functional.init, jax.random.key(0))
        moved = jax.tree.leaves(study.functional.split(params)[0])
        assert sum(math.prod(leaf.shape) for leaf in moved) == count
        config = study.config
        assert (config.learning_rate, config.decay, config.momentum) == (0.01, 0.95, 0.9)
        assert (config.weight_decay, config.batch_size, config.optimizer) == (0.0, 128, "momentum_l2")
    decayed = study_of(RandomLabels(network="mlp-1x512", case="random_labels+weight_decay", measured_images=100))
    assert decayed.config.weight_decay == 1e-4


def test_a_quick_preset_trains_networks_of_the_source(monkeypatch):
    presets = EXPERIMENTS["random-labels"].presets
    assert next(iter(presets)) == "paper"
    assert set(presets["quick"].networks) <= set(presets["paper"].networks)
    assert set(CASES) <= set(presets["quick"].cases)
    monkeypatch.setitem(readers.IMAGES, "mnist", tiny_images(n=80))
    small = dataclasses.replace(PRESETS["quick"], measured_images=90, train_images=None, test_images=None)
    with pytest.raises(InputError, match="at most the 80"):
        study_of(small)


@pytest.mark.slow
def test_a_tiny_run(tiny):
    found = run(tiny, progress=False)
    assert dict(found.complexity.sizes) == {
        "network": 1, "case": 3, "estimator": 1, "replica": 2, "snapshot": 3, "layer": 2,
    }  # fmt: skip
    assert found["estimator"].values.tolist() == [CONVENTION]
    assert found.complexity.notnull().all()
    assert ((found.complexity > 0) & (found.complexity < math.log(40) + 1e-4)).all()
    assert figure(found).subfigs
    assert all(claim.preliminary for claim in claims(found))
