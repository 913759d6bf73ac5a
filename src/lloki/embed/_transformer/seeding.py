"""Random draws that belong to a cell: the same in any batch, order, process and number of threads.

A generator that is passed along gives a cell draws that depend on how many cells came before it. Here a draw
is a function of (seed, cell, position) instead: a cell's key is a hash of the seed and its id, and the draw
at a position is a hash of key and position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pandas.util import hash_array

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: SplitMix64's increment


def cell_keys(seed: int, cell_ids: Sequence[str]) -> NDArray[np.uint64]:
    """Hash seed and cell id into one key a cell.

    Parameters
    ----------
    seed
        Any integer.
    cell_ids
        (n,) names; equal names get equal keys.

    Returns
    -------
    keys
        (n,) uint64: SipHash of the id's UTF-8 bytes, mixed with the seed (SplitMix64). The same on every
        machine; 1e6 ids take less than a second.
    """
    ids = np.array([str(name) for name in cell_ids], dtype=object)
    hashed = hash_array(ids, categorize=False) if len(ids) else np.zeros(0, np.uint64)
    start = np.array([seed % 2**64], dtype=np.uint64)  # an array: numpy warns where a scalar wraps around
    return _mix(hashed ^ _mix(start + _STEP))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser, of arrays; `uniform` holds the same for one number."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


@njit("float64(uint64, uint64)", nogil=True, cache=True)
def uniform(key: np.uint64, position: np.uint64) -> float:
    """Draw from [0, 1) at a position of a cell's stream; callable from other numba functions.

    Parameters
    ----------
    key
        The cell's key, see `cell_keys`.
    position
        Which draw: best something that belongs to the token, such as its vocabulary id, so that the order
        and number of a slice's genes do not matter.
    """
    x = key + (position + np.uint64(1)) * _STEP
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)) * (1.0 / 9007199254740992.0)  # the upper 53 bits
