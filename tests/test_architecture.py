"""Imports go one way, Flax stays in its rooms, and importing is free of side effects and of extras."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

import ibjax
from ibjax.information import mutual_information
from ibjax.training import epoch_order

PACKAGE = Path(ibjax.__file__).parent

ORDER = (
    {"information"},
    {"estimators", "bottleneck", "datasets", "networks"},
    {"training"},
    {"neural"},
    {"plane"},
    {"sweep", "plotting"},
    {"experiments"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
"""A room imports from rooms of earlier entries, from itself and from `ibjax.errors`, and from nothing else."""
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms} | {"errors": -1}
FLAX_ROOMS = {"networks", "neural"}
ON_CALL = {("ibjax.bottleneck.curve", "ibjax.plotting")}
"""Imports against the order, allowed within a function: a result draws itself when it is asked to."""


def room_of(module: str) -> str:
    """`ibjax.training.train` -> training; `ibjax` itself -> __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it: in functions and for type checkers too."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            if origin == "ibjax":  # the names are rooms, or things of the package itself
                yield from (f"ibjax.{a.name}" if a.name in LEVEL else "ibjax" for a in node.names)
            else:
                yield origin
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def forbidden(source: str, module: str, is_package: bool = False) -> list[str]:
    """What a module imports against the rule."""
    room, wrong = room_of(module), []
    for name in imports(source, module, is_package):
        if name.split(".")[0] == "flax" and room not in FLAX_ROOMS:
            wrong.append(name)
        if name.split(".")[0] == "ibjax":
            target = room_of(name)
            if target != room and LEVEL.get(target, len(ORDER)) >= LEVEL[room]:
                wrong.append(name)
    return wrong


def modules() -> list[tuple[str, Path]]:
    """Dotted name and file of every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def test_every_room_has_a_place():
    unknown = {room_of(name) for name, _ in modules()} - set(LEVEL)
    assert not unknown, f"give {unknown} a place in ORDER and in the design"


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_go_one_way(module, path):
    wrong = forbidden(path.read_text(), module, path.name == "__init__.py")
    assert [name for name in wrong if (module, name) not in ON_CALL] == []


@pytest.mark.parametrize(("module", "name"), ON_CALL)
def test_what_is_imported_on_call_is_not_imported_before(module, name):
    code = f"import sys, {module}\nassert {name!r} not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert name in forbidden(dict(modules())[module].read_text(), module)


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("ibjax.estimators.a", "import ibjax.training", ["ibjax.training"]),
        ("ibjax.estimators.a", "from ibjax.datasets import Dataset", ["ibjax.datasets"]),
        ("ibjax.estimators.a", "from ibjax import training", ["ibjax.training"]),
        ("ibjax.estimators.a", "from ..networks import MLP", ["ibjax.networks"]),
        ("ibjax.estimators.a", "from .. import networks", ["ibjax.networks"]),
        ("ibjax.estimators.a", "from . import cells\nfrom .cells import pack", []),
        ("ibjax.estimators.a", "from ibjax.estimators import cells\nfrom ibjax.errors import InputError", []),
        ("ibjax.estimators.a", "def f():\n    import ibjax.cli", ["ibjax.cli"]),
        ("ibjax.plotting.a", "if TYPE_CHECKING:\n    from ibjax.sweep import Result", ["ibjax.sweep"]),
        ("ibjax.plotting.a", "import ibjax", ["ibjax"]),
        ("ibjax.plotting.a", "from ibjax.plane import InformationPlane", []),
        ("ibjax.errors", "import ibjax.information", ["ibjax.information"]),
        ("ibjax.training.a", "from flax import nnx", ["flax"]),
        ("ibjax.plane", "import flax.nnx", ["flax.nnx"]),
        ("ibjax.networks.a", "from flax import nnx", []),
        ("ibjax.neural.a", "from flax import nnx\nimport ibjax.training\nimport ibjax.estimators", []),
        ("ibjax.neural.a", "import ibjax.plane", ["ibjax.plane"]),
        ("ibjax.training.a", "import ibjax.neural", ["ibjax.neural"]),
        ("ibjax.cli", "from ibjax.experiments import studies", []),
        ("ibjax.cli", "import ibjax\nfrom ibjax import open", []),
        ("ibjax.sweep.a", "from ibjax import __version__", ["ibjax"]),
        ("ibjax", "importlib.import_module('ibjax.sweep')", []),
        ("ibjax", "importlib.import_module('ibjax.cli')", ["ibjax.cli"]),
        ("ibjax.__main__", "from ibjax.cli import main", []),
    ],
)
def test_the_rule_is_read_right(module, source, wrong):
    assert forbidden(source, module) == wrong


IMPORT_ALONE = """
    import importlib, importlib.util, sys

    # Flax may import what it needs; after this, nobody gets any of them.
    import jax, flax.nnx, optax
    from jax._src import xla_bridge

    absent = ["zarr", "xarray", "tyro", "pooch", "plotly", "beartype", "rich", "matplotlib"]
    for name in [m for m in sys.modules if m.split(".")[0] in absent]:
        del sys.modules[name]
    for name in absent:
        sys.modules[name] = None
    settings = dict(jax.config.values)

    import ibjax

    for room in ["information", "estimators", "bottleneck", "datasets", "networks", "training", "neural"]:
        if room != "bottleneck" or importlib.util.find_spec("ibjax.bottleneck"):
            importlib.import_module("ibjax." + room)

    changed = {k: v for k, v in jax.config.values.items() if settings.get(k) != v}
    assert not changed, f"importing changed the JAX configuration: {changed}"
    assert not xla_bridge.backends_are_initialized(), "importing started a JAX backend"
    jax.devices()
    assert xla_bridge.backends_are_initialized()  # so the line above could have failed
"""


def test_importing_touches_no_device_no_setting_and_no_extra():
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IMPORT_ALONE)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_shapes_and_types_are_checked_in_this_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        mutual_information("no table")
    with pytest.raises(jaxtyping.TypeCheckError):
        epoch_order(np.zeros(3), 3)


def test_a_user_can_do_without_the_checks(unchecked):
    with pytest.raises(AttributeError):
        mutual_information("no table")
