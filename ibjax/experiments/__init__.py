"""Studies of the literature: one file each, a frozen config with named presets."""

from ibjax.experiments.registry import EXPERIMENTS, Experiment, run, study_of
from ibjax.experiments.sweeps import make_sweep, read_sweep, run_sweep
from ibjax.experiments.szt import SZT

__all__ = ["EXPERIMENTS", "SZT", "Experiment", "make_sweep", "read_sweep", "run", "run_sweep", "study_of"]
