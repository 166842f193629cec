"""Replicas on devices: chunks, segments, stores and resumption. Contains no mathematics."""

from ibjax.sweep.devices import use_every_core
from ibjax.sweep.merge import merge
from ibjax.sweep.remeasure import remeasure
from ibjax.sweep.runner import run
from ibjax.sweep.status import Status, status
from ibjax.sweep.store import open_run
from ibjax.sweep.study import Study, data_key
from ibjax.sweep.verify import Damage, verify

__all__ = [
    "Damage",
    "Status",
    "Study",
    "data_key",
    "merge",
    "open_run",
    "remeasure",
    "run",
    "status",
    "use_every_core",
    "verify",
]
