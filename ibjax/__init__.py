"""ibjax: the information bottleneck of deep learning, measured.

Nothing is imported until it is used, and importing touches no device and sets no JAX option. The rooms are
``ibjax.information``, ``estimators``, ``bottleneck``, ``datasets``, ``networks``, ``training``, ``neural``, ``plane``,
``sweep``,
``plotting`` and ``experiments``; `ibjax.open` reads the results of a run or a sweep, `ibjax.run_sweep` runs an
experiment over a grid of settings, `ibjax.mutual_information` estimates from samples.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibjax.estimators import mutual_information
    from ibjax.experiments import run_sweep
    from ibjax.sweep import open_results as open  # noqa: A004 - the verb a user looks for

__version__ = "0.1.0"
__all__ = ["mutual_information", "open", "run_sweep"]

_ROOMS = (
    "bottleneck",
    "datasets",
    "estimators",
    "experiments",
    "information",
    "networks",
    "neural",
    "plane",
    "plotting",
    "sweep",
    "training",
)
_VERBS = {
    "mutual_information": ("ibjax.estimators", "mutual_information"),
    "open": ("ibjax.sweep", "open_results"),
    "run_sweep": ("ibjax.experiments", "run_sweep"),
}


def __getattr__(name: str) -> Any:
    """Import rooms and verbs on first use (PEP 562)."""
    if name in _VERBS:
        room, verb = _VERBS[name]
        return getattr(importlib.import_module(room), verb)
    if name in _ROOMS:
        return importlib.import_module(f"ibjax.{name}")
    raise AttributeError(f"module 'ibjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names of the rooms too."""
    return sorted([*globals(), *_ROOMS, *_VERBS])
