"""What becomes of networks that are stuck at chance: left out of every mean, or kept."""

import json

import xarray as xr

from ibjax.errors import InputError, choose
from ibjax.plane.summary import masked

DEAD_POLICIES = ("mask", "keep", "restart")
"""Names of the policies of `with_dead`."""


def with_dead(plane: xr.Dataset, policy: str = "mask") -> xr.Dataset:
    """Decide whether dead replicas count in the means, peaks and figures that are made of a run.

    A replica is dead when it is still at the majority rate after the epochs that the run's ``dead_rule`` names. The
    literature restarts such runs, which is to leave them out and draw more; what a mean of the others says holds of
    networks that learnt. A replica that diverged has no finite numbers and is left out under both policies.

    Args:
        plane: a run's labelled arrays.
        policy: ``"restart"`` is for runs whose dead replicas were trained again (``--restarts``): it leaves out those
            that still are dead. ``"mask"`` leaves dead replicas out, as all functions of `ibjax.plane` do by
            themselves; ``"keep"`` counts them as the others, which says what happens to any network, and widens every
            interval.

    Returns:
        The same arrays, ``alive`` changed under ``"keep"``; the attribute ``dead_policy`` has the policy and the count.

    Raises:
        InputError: an unknown policy, ``"restart"`` for a run that was made without, or no snapshot was measured.

    Example:
        >>> run = xr.Dataset(
        ...     {"train_loss": (("replica", "snapshot"), [[0.7, 0.1], [0.7, 0.7]]),
        ...      "weight_norm": (("replica", "snapshot", "layer"), [[[1.0], [1.0]], [[1.0], [1.0]]]),
        ...      "alive": (("replica", "snapshot"), [[True, True], [True, False]])},
        ...     {"epoch": ("snapshot", [0, 2000])})
        >>> with_dead(run, "keep").attrs["dead_policy"], int(with_dead(run, "keep").alive.sum())
        ('keep: 1 dead of 2', 4)
        >>> int(with_dead(run, "mask").alive.sum())
        3
    """
    choose("policy for dead runs", policy, DEAD_POLICIES)
    found = plane.assign_attrs(dead_policy=f"{policy}: {masked(plane).dead} dead of {plane.sizes['replica']}")
    if policy == "restart":
        if "restarts" not in plane.attrs:
            raise InputError("these results were made without restarts: run again with --restarts 3, or take 'mask'")
        again = json.loads(plane.attrs["restarted"])
        found.attrs["dead_policy"] += f", {len(again)} trained again"
    if policy != "keep":
        return found
    finite = xr.ufuncs.isfinite(plane["train_loss"]) & xr.ufuncs.isfinite(plane["weight_norm"]).all("layer")
    return found.assign(alive=finite.transpose(*plane["alive"].dims).assign_attrs(plane["alive"].attrs))
