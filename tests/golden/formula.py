"""Numbers that Python and Rust compute alike, so that no weights need to be stored.

`tests/src/formula.rs` is the same in Rust. Each value depends on a name and an index alone.
"""

import numpy as np
import torch

MASK = (1 << 64) - 1


def fnv1a(text):
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def uniform(name, shape):
    """Values in [-1, 1) of 24 bits: splitmix64 of FNV-1a of the name plus the index."""
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / float(1 << 23) - 1.0
    return torch.from_numpy(unit.astype(np.float32).reshape(shape))


def weights(name, shape):
    """Weights that keep activations of order one: variances in (0.5, 1.5), the rest near its usual start."""
    values = uniform(name, shape)
    if name.endswith("running_var"):
        return 1.0 + 0.5 * values
    if name.endswith("running_mean") or name.endswith("bias"):
        return 0.1 * values
    if len(shape) == 1:
        return 1.0 + 0.25 * values
    inputs = int(np.prod(shape[1:], dtype=np.int64))
    return values * np.float32(np.sqrt(np.float32(6.0) / np.float32(inputs)))


def fill(module):
    """Every parameter and running statistic of a module by its key; returns the module."""
    for name, tensor in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(weights(name, tuple(tensor.shape)))
    return module
