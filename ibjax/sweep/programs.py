"""Compiles once what several groups of a sweep have in common."""

import contextlib
import tempfile
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def share_programs() -> Iterator[None]:
    """Keep compiled programs on disk while the context lasts, so that groups which need the same one share it.

    Groups that differ only in the learning rate, the seed, the number of epochs or the labels of the same inputs have
    the same program to the letter: these are its arguments. It is traced for each of them, which takes a fraction of
    the time, and compiled once. JAX keeps programs in a folder or not at all; here it is a temporary one, because a
    program that is read is executed. A folder that the caller has set (``jax_compilation_cache_dir``) is
    used instead. It is for programs, like the command line, and not for libraries: JAX has one such folder a process.

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
