"""Which claims of the plane survive the choice of the estimator: bins, ranges, float bits, kernels, neighbours."""

import dataclasses

import xarray as xr
from matplotlib.figure import Figure

from ibjax.experiments import szt
from ibjax.experiments.experiment import Experiment, preliminary
from ibjax.plane import Claim

BINS = (8, 12, 18, 30, 50, 100, 256)
ESTIMATORS = (
    "binning:bins=30",
    *(f"binning:bins={bins}" for bins in BINS if bins != 30),
    "binning:bins=30,range=neuron",
    "binning:bins=30,range=layer",
    "binning:bins=30,range=run",
    "binning:bins=30,rule=quantile",
    "binning:bins=30,rule=idnns",
    "binning:rule=width,width=0.07",
    "binning:rule=bits",
    "kernel:noise_variance=0.1",
    "kernel:noise_variance=0.1,bound=lower",
    "kernel:noise_variance=0.001",
)
NEIGHBOURS = "noisy-ksg:noise_variance=0.1"


@dataclasses.dataclass(frozen=True)
class SZTBins(szt.SZT):
    """The networks of `SZT`, measured by many estimators on the same activations.

    Bins from 8 to 256 on [-1, 1]; 30 bins over the range of each unit, of the layer and of the whole run, of equal
    counts, and with the public code's edges; the width of Saxe et al.; the exact bits of the floats; kernel bounds at
    the noise of Saxe et al. and at that of their notebook; nearest neighbours with noise.

    References:
        Saxe et al. (2018), "On the information bottleneck theory of deep learning". Lorenzen, Igel & Nielsen (2022),
        "Information bottleneck: exact analysis of (quantized) neural networks", for how the choice of bins decides.
    """

    measure: tuple[str, ...] = (*ESTIMATORS, NEIGHBOURS)


PRESETS = {
    "paper": SZTBins(),
    "quick": SZTBins(replicas=4, epochs=2000, snapshots=50, measure=ESTIMATORS),
}
"""Named settings; the first is the default. The quick one leaves out the neighbours, which take most of the time."""


def claims(found: xr.Dataset) -> list[Claim]:
    """Judge the claims of `ibjax.experiments.szt.plane_claims`, by the same rules, once for every estimator."""
    early = preliminary(found, PRESETS["paper"])
    return [
        claim._replace(name=f"{claim.name} by {name}")
        for name in found["estimator"].values.tolist()
        for claim in szt.plane_claims(found, name, early=early)
    ]


def figure(found: xr.Dataset) -> Figure:
    """Draw the verdicts as a table of estimators and claims, and the layers' I(X;T) by each estimator."""
    from ibjax.plotting import verdict_figure

    names = found["estimator"].values.tolist()
    return verdict_figure(found, {name: szt.plane_claims(found, name, early=False) for name in names})


EXPERIMENT = Experiment(
    "which claims of the plane survive the choice of bins, ranges, kernels and neighbours",
    PRESETS,
    claims,
    figure,
    szt.study,
)
