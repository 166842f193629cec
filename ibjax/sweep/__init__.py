"""Replicas on devices: chunks, segments, stores and resumption. Contains no mathematics."""

from ibjax.sweep.devices import use_every_core
from ibjax.sweep.remeasure import remeasure
from ibjax.sweep.runner import run
from ibjax.sweep.store import open_run
from ibjax.sweep.study import Study, data_key

__all__ = ["Study", "data_key", "open_run", "remeasure", "run", "use_every_core"]
