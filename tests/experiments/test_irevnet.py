"""Invertible networks: planted verdicts, the geometry of codes against plain NumPy, and a small real run."""

import dataclasses
import math

import numpy as np
import pytest
from images_planted import joined, tiny_images

from ibjax.datasets import cifar10
from ibjax.errors import InputError
from ibjax.experiments import EXPERIMENTS, Invertible, draw, judge, run, study_of
from ibjax.experiments import images as readers
from ibjax.experiments.irevnet import PRESETS, claims, contraction, figure, images, probe

PAPER = PRESETS["paper"]
SMALL = Invertible(
    dataset="mnist", measured_images=12, probe_images=20, replicas=2, epochs=1, batch_size=20, decay_after=(1,),
    dropout=0.0, padding=1, mirror=False, blocks=(1,), strides=(1,), channels=(4,), initial=1, snapshots=2,
    chunk_size=2,
)  # fmt: skip
LN_N = math.log(500)


def planted(*, error=1e-6, lost=0.0, accuracy=0.93, twin=0.93, spread=0.002, sense=1.0, replicas=6, **config):
    """Results of both forms: reconstruction error, information lost, accuracies, and how classes go with depth."""

    def values(settings, rng):
        level = accuracy if settings["invertible"] else twin
        curve = np.linspace(0.1, level, 3) + spread * rng.standard_normal((replicas, 3))
        curve[:, -1] = level + spread * rng.standard_normal(replicas)
        return {"complexity": np.full((1, replicas, 3, 5), LN_N - lost), "test_accuracy": curve}

    found = joined(
        {"invertible": (True, False)},
        values,
        replicas=replicas,
        epochs=(0, 10, 200),
        widths=(8, 8, 8, 8, 10),
        config={"dataset": "cifar10", "train_images": None, "test_images": None, **config},
        attrs={"title": "planted i-RevNet", "samples": 500, "entropy_x": LN_N},
    )
    rng = np.random.default_rng(1)
    over, depth = ("invertible", "replica", "depth"), np.arange(5)
    noise = 0.01 * rng.standard_normal((2, replicas, 5))
    errors = np.full((2, replicas, 5), np.nan)
    errors[0] = error * (1 + 0.1 * rng.random((replicas, 5)))
    errors[0, :, 2] = np.nan  # not asked for
    return found.assign(
        reconstruction_error=(over, errors),
        contraction=(over, 0.8 - 0.1 * sense * depth + noise),
        probe_accuracy=(over, 0.5 + 0.1 * sense * depth + noise),
        decoded=(("invertible", "pair", "step", "row", "column", "channel"), rng.random((2, 3, 7, 6, 6, 1))),
    )


def verdicts(found):
    return {claim.name: claim.verdict for claim in claims(found)}


def test_all_is_reproduced():
    found = planted()
    assert set(verdicts(found).values()) == {"reproduced"}
    assert not any(claim.preliminary for claim in claims(found))


def test_all_is_refuted():
    found = verdicts(planted(error=0.01, lost=0.5, accuracy=0.6, twin=0.9, sense=-1.0))
    assert set(found.values()) == {"refuted"}


def test_inconclusive():
    found = verdicts(planted(accuracy=0.8, twin=0.8, spread=0.1, sense=0.0))
    assert found["learns"] == found["no-worse-than-the-twin"] == "inconclusive"
    assert found["classes-contract"] == "inconclusive"
    one = verdicts(planted(replicas=1))
    assert set(one.values()) == {"inconclusive"}


@pytest.mark.parametrize("config", [{"dataset": "mnist"}, {"train_images": 1000}, {"test_images": 10}], ids=str)
def test_fewer_or_other_images_are_preliminary(config):
    assert all(claim.preliminary for claim in claims(planted(**config)))


def test_the_figure_of_planted_results():
    found = figure(planted())
    assert len(found.axes) >= 6 + 21


def test_contraction_and_probe_of_known_codes():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    codes = rng.normal(size=(60, 4)) + 8 * np.eye(4)[y]
    distance = np.linalg.norm(codes[:, None] - codes, axis=-1)
    same, other = y[:, None] == y, ~np.eye(60, dtype=bool)
    expected = distance[same & other].mean() / distance[other].mean()
    assert contraction(codes @ codes.T, y) == pytest.approx(expected, rel=1e-6)
    assert probe(codes @ codes.T, y, 30) == 1.0
    noise = rng.normal(size=(400, 2))
    assert probe(noise @ noise.T, np.arange(400) % 4, 200) == pytest.approx(0.25, abs=0.12)
    assert math.isnan(contraction(codes[:3] @ codes[:3].T, y[:3]))


def test_the_probe_is_ridge_regression():
    rng = np.random.default_rng(2)
    codes, y = rng.normal(size=(80, 3)), rng.integers(0, 3, 80)
    seen = 50
    x, t = codes[:seen] - codes[:seen].mean(0), np.eye(3)[y[:seen]]
    penalty = 1e-3 * (x**2).sum() / seen
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(3), x.T @ (t - t.mean(0)))
    guess = ((codes[seen:] - codes[:seen].mean(0)) @ weights + t.mean(0)).argmax(1)
    assert probe(codes @ codes.T, y, seen) == pytest.approx((guess == y[seen:]).mean())


@pytest.mark.slow
def test_a_small_run(monkeypatch, tmp_path):
    monkeypatch.setitem(readers.IMAGES, "mnist", tiny_images())
    found = run(SMALL, tmp_path, progress=False).load()
    exact = found.isel(invertible=0)
    assert dict(found.sizes)["depth"] == 2
    assert (exact["reconstruction_error"] < 1e-5).all()
    assert found["reconstruction_error"].isel(invertible=1).isnull().all()
    assert exact["complexity"].isel(layer=0).values == pytest.approx(math.log(12))
    assert found["probe_accuracy"].isel(depth=0).values == pytest.approx(1.0)
    first = exact["decoded"].isel(step=0, pair=0).values
    np.testing.assert_allclose(first, tiny_images()(None, "test").x[0].clip(0, 1), atol=1e-4)
    assert all(claim.preliminary for claim in judge(tmp_path))
    assert all(path.exists() for path in draw(tmp_path))


def test_cifar_from_files(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        rows = rng.integers(0, 256, (4, 3073), np.uint8)
        rows[:, 0] %= 10
        rows[3] = rows[2]
        (tmp_path / name).write_bytes(rows.tobytes())
    monkeypatch.setitem(readers.IMAGES, "cifar10", lambda folder, part: cifar10(folder, part, verify=False))
    config = dataclasses.replace(PAPER, data=str(tmp_path), measured_images=4, probe_images=4, batch_size=4)
    found = images(config)
    assert len(found.parts.train) == 20
    assert len(found.parts.measured) == 3  # the double is left out
    x = np.asarray(found.parts.train.x)
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std((0, 1, 2)), 1, atol=1e-4)
    small = dataclasses.replace(config, blocks=(1, 1, 1))
    study = study_of(small)
    assert study.widths == (32768, 32768, 32768, 10)
    assert study.config.decay_after == (60, 120, 160)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnits"}, "unknown dataset 'mnits': did you mean 'mnist'"),
        ({"train_images": 41}, "has 40 images, 41 are asked for"),
        ({"probe_images": 41}, "probe_images must be at most the 40"),
        ({"decay": 0.0}, "decay must be above 0"),
        ({"decay_after": (0,)}, "decay_after must be epochs from 1 on"),
        ({"channels": (1,), "strides": (2,)}, "cannot make 2 x 1 channels"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(monkeypatch, changes, message):
    monkeypatch.setitem(readers.IMAGES, "mnist", tiny_images())
    with pytest.raises(InputError, match=message) as raised:
        study_of(dataclasses.replace(SMALL, **changes))
    assert "\n" not in str(raised.value)


def test_wrong_counts_are_told_at_once():
    with pytest.raises(InputError, match="must be 2 or more"):
        Invertible(measured_images=1)
    with pytest.raises(InputError, match="padding must be 0 or more"):
        Invertible(padding=-1)
    assert EXPERIMENTS["irevnet"].default == PAPER
