"""Linear equations with a positive matrix, by blocks: matrix products alone, for batches of small systems."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BLOCK = 8
"""Unknowns eliminated at a time."""


def solve_positive(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve A x = b, A symmetric and positive definite; goes through ``vmap``.

    LAPACK's batched factorisations share the threads of the program that calls them, and two of them at once can wait
    for each other's for ever.
    """
    rows = []
    while len(right):
        inverse = _inverse(matrix[:BLOCK, :BLOCK])
        row = inverse @ jnp.concatenate([matrix[:BLOCK, BLOCK:], right[:BLOCK, None]], axis=1)
        below = matrix[BLOCK:, :BLOCK]
        matrix, right = matrix[BLOCK:, BLOCK:] - below @ row[:, :-1], right[BLOCK:] - below @ row[:, -1]
        rows.append(row)
    solution = right
    for row in reversed(rows):
        solution = jnp.concatenate([row[:, -1] - row[:, :-1] @ solution, solution])
    return solution


def _inverse(matrix):
    """By sweeps: the k-th exchanges the k-th unknown with the k-th right-hand side."""

    def sweep(k, matrix):
        pivot, column = matrix[k, k], matrix[:, k]
        row = matrix[k] / pivot
        swept = (matrix - column[:, None] * row).at[:, k].set(-column / pivot)
        return swept.at[k].set(row.at[k].set(1 / pivot))

    # A loop, for the sweeps written out take the compiler several seconds.
    return jax.lax.fori_loop(0, len(matrix), sweep, matrix)
