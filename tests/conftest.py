"""Set-up of every test run: checked shapes and types, four host devices, and a cache of compiled programs."""

import os

import jaxtyping

# Before anything of ibjax is imported.  Only these runs pay for the checks: the package itself has none.
# The numeric tower: where a float is asked for, an integer is right too (PEP 484).
jaxtyping.install_import_hook("ibjax", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

HOST_DEVICES = 4
"""Devices that JAX makes of the CPU, so that multi-device code is tested in this process."""
CACHE_FROM_SECONDS = 0.5
"""Programs that take longer to compile than this are kept between runs."""


# A first call compiles, so no example has a deadline.
hypothesis.settings.register_profile("ibjax", deadline=None)
hypothesis.settings.load_profile("ibjax")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice between programs that compile fast and programs that run fast."""
    parser.addoption("--optimised", action="store_true", help="compile as a user's programs are, which takes longer")


def pytest_configure(config: pytest.Config) -> None:
    """Configure JAX before the first test module is imported."""
    jax.config.update("jax_num_cpu_devices", HOST_DEVICES)
    if not config.getoption("optimised"):
        # Most of the time of a run is the compiler's.
        jax.config.update("jax_disable_most_optimizations", True)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # as below
        # Without optimisations two thirds of that are the newer generator of fused loops. A jaxlib that does not know
        # the flag any more says so and stops.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()
    if getattr(config, "cache", None) is None:  # -p no:cacheprovider
        return
    # Each process of a parallel run has its own: JAX does not write a program in one piece.
    folder = str(config.cache.mkdir(f"jax-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", CACHE_FROM_SECONDS)
    # For the tests that start a Python of their own.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(CACHE_FROM_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need an accelerator where there is none."""
    needs_accelerator = [item for item in items if item.get_closest_marker("gpu")]
    if needs_accelerator and jax.default_backend() == "cpu":
        for item in needs_accelerator:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator, and JAX found only a CPU"))


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Let go of a file's compiled programs, which would fill the memory by the end of a run."""
    yield
    jax.clear_caches()
    from ibjax.sweep import programs

    programs._KEPT.clear()


@pytest.fixture
def unchecked():
    """Switch shape and type checks off: a user has none, and sees the package's own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
