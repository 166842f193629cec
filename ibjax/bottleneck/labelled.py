"""An information curve as labelled arrays: the solutions over beta, their clusters, and the two bounds."""

from typing import Any

import numpy as np

from ibjax.bottleneck.solve import encoder
from ibjax.bottleneck.table import Table

RATES = 257
"""Complexities between 0 and H(X) at which the two bounds are tabulated, besides the corners of the lower one."""
MOST_CELLS = 2**22
"""Largest number of p(t|x) that a dataset carries: 32 MB."""


def labelled(curve: Any) -> Any:
    """The arrays of an `InformationCurve` as an `xarray.Dataset`, see `InformationCurve.to_dataset`."""
    import xarray as xr  # needed here only

    names = {
        "complexity": "I(X;T)",
        "relevance": "I(T;Y)",
        "lagrangian": "I(X;T) - beta I(T;Y)",
        "free_energy": "-E ln Z(x)",
        "gap": "the lagrangian is at most so far above its minimum",
    }
    arrays = {name: ("beta", getattr(curve, name), _about(text, "nats")) for name, text in names.items()}
    arrays["upper"] = ("beta", curve.upper(curve.complexity), _about("bound on I(T;Y) at this complexity", "nats"))
    for name, text in (("clusters", "clusters"), ("iterations", "evaluations of the map"), ("status", "Status")):
        arrays[name] = ("beta", getattr(curve, name), _about(text))
    corners, _ = curve._hull()
    rate = np.unique(np.concatenate([np.linspace(0.0, curve.entropy, RATES), corners]))
    arrays["lower_curve"] = ("rate", curve.lower(rate), _about("attained I(T;Y)", "nats"))
    arrays["upper_curve"] = ("rate", curve.upper(rate), _about("bound on I(T;Y)", "nats"))
    coordinates = {"beta": curve.beta, "rate": ("rate", rate, _about("I(X;T)", "nats"))}
    attributes = {
        "gap_kind": curve.gap_kind,
        "information": curve.information,
        "entropy": curve.entropy,
        "position": "p(y=1)" if curve.reduction.table.p_y_given_x.shape[1] == 2 else "first principal coordinate",
    }
    return xr.Dataset(arrays | _clusters(curve), coordinates, attributes)


def positions(table: Table, p_y: np.ndarray) -> np.ndarray:
    """One number for every distribution of Y: p(y=1) of two labels, else their first principal coordinate.

    The coordinate is (p - p(y)) . v, where v is the direction in which the rows p(y|x), weighted by p(x), vary most;
    the largest entry of v is positive.

    Args:
        table: whose rows span the axis.
        p_y: distributions, shape (..., |Y|).

    Example:
        >>> table = Table(np.array([0.5, 0.5]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]]))
        >>> positions(table, table.p_y_given_x).round(3)
        array([ 0.424, -0.424])
    """
    p_x, p = table
    if p.shape[1] == 2:
        return p_y[..., 1]
    centre = p_x @ p
    _, directions = np.linalg.eigh((p_x[:, None] * (p - centre)).T @ (p - centre))
    first = directions[:, -1]
    return (p_y - centre) @ (first * np.sign(first[abs(first).argmax()]))


def _clusters(curve: Any) -> dict[str, Any]:
    """Marginals, decoders, encoders and ancestors of the clusters, at every beta in the order of their positions."""
    table, lanes = curve.reduction.table, curve.lanes
    betas, most = len(curve.beta), int(curve.clusters.max())
    inputs, labels = table.p_y_given_x.shape
    marginal, parent = np.zeros((betas, most)), np.full((betas, most), -1)
    decoder = np.full((betas, most, labels), np.nan)
    whole = betas * inputs * most <= MOST_CELLS
    encoders = np.zeros((betas, inputs, most)) if whole else None
    before = None
    for i in range(betas):
        p_t_given_x, joint = encoder(table, lanes, i)
        weights = joint.sum(axis=0)
        p_y_given_t = joint.T @ table.p_y_given_x / weights[:, None]
        order = np.argsort(positions(table, p_y_given_t), kind="stable")
        count, p_y_given_t = len(order), p_y_given_t[order]
        marginal[i, :count], decoder[i, :count] = weights[order], p_y_given_t
        if encoders is not None:
            encoders[i, :, :count] = p_t_given_x[:, order]
        if before is not None:
            parent[i, :count] = abs(p_y_given_t[:, None] - before).sum(axis=2).argmin(axis=1)
        before = p_y_given_t
    found = {
        "marginal": (("beta", "cluster"), marginal, _about("p(t), 0 where there is no such cluster")),
        "decoder": (("beta", "cluster", "y"), decoder, _about("p(y|t)")),
        "position": (("beta", "cluster"), positions(table, decoder), _about("where p(y|t) is on one axis")),
        "parent": (("beta", "cluster"), parent, _about("cluster of nearest p(y|t) at the beta before, -1 without one")),
        "p_x": ("x", table.p_x, _about("p(x) of the distinct inputs")),
        "input_position": ("x", positions(table, table.p_y_given_x), _about("where p(y|x) is on the same axis")),
    }
    if encoders is not None:
        found["encoder"] = (("beta", "x", "cluster"), encoders, _about("p(t|x) of the distinct inputs"))
    return found


def _about(text: str, units: str = "1") -> dict[str, str]:
    return {"units": units, "long_name": text}
