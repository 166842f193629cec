"""Convolution as a loop over pixels, in double precision."""

import numpy as np


def windows(x, window, stride, fill):
    """[row][column] -> what each window sees, padded so that ceil(size / stride) windows fit."""
    sizes = [-(-size // stride) for size in x.shape[1:3]]
    missing = [max((o - 1) * stride + window - s, 0) for o, s in zip(sizes, x.shape[1:3], strict=True)]
    pads = [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    x = np.pad(x, pads, constant_values=fill)
    return [
        [x[:, r * stride : r * stride + window, c * stride : c * stride + window] for c in range(sizes[1])]
        for r in range(sizes[0])
    ]


def convolve(x, kernel, stride):
    """A loop over pixels, in double precision."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    seen = windows(x, len(kernel), stride, 0.0)
    return np.stack([np.stack([np.einsum("nijc,ijco->no", v, kernel) for v in row], 1) for row in seen], 1)
