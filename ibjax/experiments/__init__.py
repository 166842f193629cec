"""Studies of the literature: one file each, a frozen config with named presets."""

from ibjax.experiments.registry import EXPERIMENTS, Experiment, run, study_of
from ibjax.experiments.szt import SZT

__all__ = ["EXPERIMENTS", "SZT", "Experiment", "run", "study_of"]
