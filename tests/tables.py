"""Random tables of probabilities, for property tests."""

from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

weights = st.floats(1e-3, 1) | st.just(0.0)


@st.composite
def tables(draw, shape):
    """A distribution of the given shape, some of it zero."""
    w = draw(hnp.arrays(float, shape, elements=weights))
    w.flat[draw(st.integers(0, w.size - 1))] += 1
    return w / w.sum()


@st.composite
def channels(draw, inputs, outputs):
    """Rows that are distributions, some of them with zeros."""
    w = draw(hnp.arrays(float, (inputs, outputs), elements=weights))
    w[range(inputs), draw(st.lists(st.integers(0, outputs - 1), min_size=inputs, max_size=inputs))] += 1
    return w / w.sum(axis=1, keepdims=True)
