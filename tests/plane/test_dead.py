"""Dead replicas are left out or kept; diverged ones are left out in any case."""

import numpy as np
import pytest
import xarray as xr

from ibjax.errors import InputError
from ibjax.plane import DEAD_POLICIES, masked, surviving, with_dead


@pytest.fixture
def run():
    """Four replicas: one learns, one is stuck, the loss of one and a weight of another are not finite."""
    loss = np.array([[0.7, 0.1], [0.7, 0.7], [0.7, np.nan], [0.7, 0.2]], np.float32)
    norm = np.ones((4, 2, 2), np.float32)
    norm[3, 1, 0] = np.inf
    alive = np.array([[True, True], [True, False], [True, False], [True, False]])
    return xr.Dataset(
        {
            "train_loss": (("replica", "snapshot"), loss),
            "train_accuracy": (("replica", "snapshot"), np.ones_like(loss)),
            "weight_norm": (("replica", "snapshot", "layer"), norm),
            "alive": (("replica", "snapshot"), alive, {"units": "1"}),
        },
        {"epoch": ("snapshot", [0, 2000])},
    )


def test_mask_is_what_summaries_do_by_themselves(run):
    found = with_dead(run)
    assert found.attrs["dead_policy"] == "mask: 1 dead of 4"
    assert found.drop_attrs().identical(run.drop_attrs())
    assert surviving(found).sizes["replica"] == surviving(run).sizes["replica"] == 1


def test_keep_counts_the_dead_and_not_the_diverged(run):
    found = with_dead(run, "keep")
    assert found.attrs["dead_policy"] == "keep: 1 dead of 4"
    assert found["alive"].values.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert found["alive"].dtype == bool
    assert found["alive"].attrs == run["alive"].attrs
    assert (masked(found).dead, masked(found).diverged) == (0, 2)
    assert surviving(found)["train_loss"].values[:, -1].tolist() == pytest.approx([0.1, 0.7])
    assert "dead_policy" not in run.attrs


def test_an_unknown_policy_is_one_line(run):
    with pytest.raises(InputError, match=r"unknown policy for dead runs 'revive': Choose from mask, keep, restart"):
        with_dead(run, "revive")
    assert DEAD_POLICIES == ("mask", "keep", "restart")
