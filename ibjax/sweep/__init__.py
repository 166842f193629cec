"""Replicas on devices: chunks, segments, stores, resumption, and grids of settings. Contains no mathematics."""

from ibjax.sweep.costs import Forecast, forecast
from ibjax.sweep.devices import use_every_core
from ibjax.sweep.grid import Axis, Grid, Group, expand, parse_values
from ibjax.sweep.groups import Failure, Sweep, open_results, open_sweep, prepare, run_groups
from ibjax.sweep.joined import failures_of, groups_of, select
from ibjax.sweep.merge import merge
from ibjax.sweep.programs import share_programs
from ibjax.sweep.remeasure import remeasure
from ibjax.sweep.runner import run
from ibjax.sweep.status import Status, SweepStatus, status, sweep_status
from ibjax.sweep.store import open_run
from ibjax.sweep.stored import over_snapshots, stored_layers, trained_parameters
from ibjax.sweep.study import Study, data_key
from ibjax.sweep.verify import Damage, verify, vouched
from ibjax.sweep.verify_groups import verify_sweep

__all__ = [
    "Axis",
    "Damage",
    "Failure",
    "Forecast",
    "Grid",
    "Group",
    "Status",
    "Study",
    "Sweep",
    "SweepStatus",
    "data_key",
    "expand",
    "failures_of",
    "forecast",
    "groups_of",
    "merge",
    "open_results",
    "open_run",
    "open_sweep",
    "over_snapshots",
    "parse_values",
    "prepare",
    "remeasure",
    "run",
    "run_groups",
    "select",
    "share_programs",
    "status",
    "stored_layers",
    "sweep_status",
    "trained_parameters",
    "use_every_core",
    "verify",
    "verify_sweep",
    "vouched",
]
