"""Compiles once what several groups of a sweep have in common."""

import contextlib
import hashlib
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax
from jax.experimental.compilation_cache import compilation_cache

Program = TypeVar("Program", jax.stages.Compiled, Future[jax.stages.Compiled])
MOST = 64
"""Compiled programs that a process keeps for later runs; the one that was not used for longest goes first."""
_KEPT: dict[Hashable, jax.stages.Compiled | Future[jax.stages.Compiled]] = {}
_AHEAD = ThreadPoolExecutor(1, thread_name_prefix="ibjax-compiler")


def compiled(lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> jax.stages.Compiled:
    """Compile a program, or give the one that this process has compiled before from the same text.

    Groups of a sweep that differ in arguments alone (learning rate, momentum, weight decay, seed, initial weights,
    epochs, labels, other data of the same shape) lower to the same text to the letter, the constants that they close
    over among it. Programs that call back into Python are compiled each for itself: the text does not say what is
    called.

    Args:
        lowered: the program.
        devices: what it is for, in their order, which the text does not say.
    """
    key = _key(lowered, devices)
    if key is None:
        return lowered.compile()
    found = _KEPT.pop(key, None) or lowered.compile()
    return _keep(key, found.result() if isinstance(found, Future) else found)


def compile_ahead(lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> None:
    """Begin to compile, in a thread, what `compiled` is to be asked for: it gives that, or what hindered it."""
    key = _key(lowered, devices)
    if key is not None and key not in _KEPT:
        _keep(key, _AHEAD.submit(lowered.compile))


def _key(lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> Hashable:
    """What programs that can stand for each other have in common; None for one that stands for itself alone."""
    text = lowered.as_text()
    apart = getattr(lowered._lowering, "const_args", ())  # constants that are not in the text
    if "callback" in text or apart:
        return None
    digest = hashlib.sha256(text.encode()).digest()
    return digest, lowered.in_tree, lowered.out_tree, tuple(device.id for device in devices)


def _keep(key: Hashable, program: Program) -> Program:
    _KEPT[key] = program
    while len(_KEPT) > MOST:
        del _KEPT[next(iter(_KEPT))]
    return program


@contextlib.contextmanager
def share_programs() -> Iterator[None]:
    """Keep compiled programs on disk while the context lasts, those too that are not shared by `compiled`.

    These are what measures at the end of a run, and small ones. JAX keeps programs in a folder or not at all; here it
    is a temporary one, because a program that is read is executed. A folder that the caller has set
    (``jax_compilation_cache_dir``) is used instead. It is for programs, like the command line, and not for libraries:
    JAX has one such folder a process.

    Example:
        >>> with share_programs():
        ...     pass  # ibjax.run_sweep(...)
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ibjax-programs-") as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()  # JAX decides at the first program whether it keeps any
        try:
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()
