"""Verdicts on planted paths, the spread against a loop, and two small networks."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ibjax.errors import InputError
from ibjax.experiments import NoisyNetworks, run
from ibjax.experiments.noisy_network import claims, figure, spread

EPOCHS = np.unique(np.r_[0, np.geomspace(1, 10_000, 30).round()]).astype(int)


def planted(fall: float, *, tracked: bool = True, clusters: bool = True, above: float = 0.0) -> xr.Dataset:
    """Five networks whose I(X;T) rises to 6 bits and then falls, with bins and clusters or against them."""
    time = np.log10(1 + EPOCHS)
    path = 4 + 2 * np.clip(time / 2, 0, 1) - fall * np.clip((time - 2) / 2, 0, 1)
    noise = 0.001 * np.random.default_rng(0).standard_normal((1, 5, EPOCHS.size, 2))
    bits = path[None, None, :, None] + noise
    ratio = 2.0 ** (bits / 4 if clusters else -bits / 4)
    dims = ("noise", "replica", "snapshot", "layer")
    nats = np.log(2)
    arrays = {
        "complexity": (bits + above) * nats,
        "complexity_bias": 0.1 * bits,
        "binned": (bits if tracked else 10 - bits) * nats,
        "spread": ratio,
    }
    coordinates = {
        "noise": [0.1], "epoch": ("snapshot", EPOCHS), "width": ("layer", [3, 2]), "layer_name": ("layer", ["T1", "T2"])
    }  # fmt: skip
    attrs = {"samples": 256, "bins": 30, "title": "planted"}
    return xr.Dataset({name: (dims, values) for name, values in arrays.items()}, coordinates, attrs)


def verdicts(found: xr.Dataset) -> dict[str, str]:
    return {claim.name.split(",")[0]: claim.verdict for claim in claims(found)}


def test_what_is_planted_is_reproduced():
    found = claims(planted(3.0))
    assert {claim.verdict for claim in found} == {"reproduced"}
    assert not any(claim.preliminary for claim in found)


def test_the_opposite_is_refuted():
    found = verdicts(planted(3.0, tracked=False, clusters=False, above=4.0))
    assert found["finite"] == found["bins-track"] == "refuted"
    assert found["clustering"] == found["clustering-tracks"] == "refuted"
    assert verdicts(planted(0.0))["compression"] == "refuted"


def test_without_a_fall_nothing_is_said_of_clusters():
    found = verdicts(planted(0.0))
    assert found["clustering"] == found["clustering-tracks"] == "inconclusive"


def test_infinite_information_is_no_number():
    found = planted(3.0)
    found["complexity"][:] = np.nan
    judged = verdicts(found)
    assert judged["finite"] == "refuted"
    assert judged["compression"] == "inconclusive"


def test_the_spread_is_that_of_a_loop():
    random = np.random.default_rng(1)
    t, labels = random.standard_normal((20, 3)).astype(np.float32), random.integers(0, 2, 20)
    centres = [t[labels == c].mean(axis=0) for c in (0, 1)]
    own = np.mean([np.sum((row - centres[c]) ** 2) for row, c in zip(t, labels, strict=True)])
    between = np.mean([np.sum((centres[c] - t.mean(axis=0)) ** 2) for c in labels])
    assert float(spread(jnp.asarray(t), labels, 2)) == pytest.approx(np.sqrt(own / between), rel=1e-5)


@pytest.mark.filterwarnings("error")
def test_the_figure_draws():
    drawn = figure(planted(3.0))
    drawn.canvas.draw()
    assert drawn.axes[0].get_ylabel() == "I(X;T) (bits)"


@pytest.mark.slow
def test_networks_are_trained_with_their_noise():
    config = NoisyNetworks(
        replicas=2, epochs=2, batch_size=512, widths=(12, 3, 2), noises=(0.01, 1.0), inputs=16, samples=2, snapshots=3
    )
    found = run(config, progress=False)
    assert dict(found["complexity"].sizes) == {"noise": 2, "replica": 2, "snapshot": 3, "layer": 1}
    bits = found["complexity"].values / np.log(2)
    assert (bits > -0.2).all()  # a Monte-Carlo mean near 0 may fall below it
    assert (bits <= 4 + 1e-4).all()
    assert (bits[0] > bits[1] + 1).all()  # more noise tells fewer inputs apart
    assert (found["complexity_bias"] == 0).all()  # of the first layer
    start, end = found["binned"].isel(snapshot=0).values, found["binned"].isel(snapshot=-1).values
    np.testing.assert_array_equal(start[0], start[1])  # the same networks
    assert np.isfinite(end).all()
    assert all(claim.preliminary for claim in claims(found))
    figure(found).canvas.draw()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noises": (0.0,)}, "noises must be positive"),
        ({"widths": (12, 2)}, "widths must be 12, those of a hidden layer or more, and 2"),
        ({"inputs": 5000}, "inputs must be 2 to 4096, got 5000"),
        ({"replicas": 0}, "replicas, epochs and samples must be 1 or more"),
        ({"fraction": 1.0}, "fraction must be at least 0.01 and below 1"),
        ({"batch_size": 4000}, "batch_size must be 1 to 3276, got 4000"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message):
        NoisyNetworks(**changes)
