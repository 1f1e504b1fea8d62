"""Near-copies: two photographs that show the same picture, in another size, format or colour, or slightly cropped.

`benchmarks/copies.py` measures how many copies of real photographs are found, and how many pairs of different pictures are
mistaken for copies; the data page of the book has its numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .images import RGB

SIDE = 16
BITS = SIDE * SIDE
CELLS = SIDE * (SIDE + 1)
NEAR = 24  # largest number of differing bits, per 256 that vote, between near-copies; the default of `RunSpec.duplicates`
CONTRAST = 2  # grey levels, of 255, from which two neighbouring cells vote
FEWEST = 16  # number of votes from which two photographs can be near-copies
CELL = 40  # grey levels, of 255, by which a cell of two near-copies differs at most


def picture_hash(image: RGB) -> NDArray[np.uint8]:
    """The picture in 16 rows of 17 grey cells, as `imagehash.dhash` scales it: (272,) uint8, row by row.

    >>> picture_hash(np.zeros((20, 20, 3), np.uint8)).max()
    np.uint8(0)
    """
    small = Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small).reshape(CELLS)


def near_copies(one: NDArray[np.uint8], other: NDArray[np.uint8], bits: int = NEAR) -> NDArray[np.bool_]:
    """Which of (q, 272) and (n, 272) picture hashes are of near-copies: (q, n).

    Their difference hashes (Krawetz 2013) differ in at most `bits` bits per 256 votes, and no cell by more than `CELL` levels.
    A bit says which of two neighbouring cells is brighter. It votes if they differ by at least `CONTRAST` levels in one of the
    photographs, because bits of a flat background are noise. Fewer than `FEWEST` votes, or negative `bits`, make no near-copies.
    """
    (sign, vote), (their_sign, their_vote) = _brighter(one), _brighter(other)
    votes = vote.sum(axis=1)[:, None] + their_vote.sum(axis=1) - vote @ their_vote.T
    mine, theirs = sign * vote, their_sign * their_vote
    agreement = mine @ (their_sign - theirs).T + sign @ theirs.T  # equal less differing bits, of those that vote
    near = (votes >= FEWEST) & (BITS * (votes - agreement) <= 2 * bits * votes)
    for row in np.flatnonzero(near.any(axis=1)):
        at = np.flatnonzero(near[row])
        cells = other[at]
        near[row, at] = (np.maximum(cells, one[row]) - np.minimum(cells, one[row])).max(axis=1) <= CELL
    return np.asarray(near)


def _brighter(hashes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The bits of (n, 272) hashes as 1 or -1, and as 1 or 0 whether each votes: two arrays (n, 256)."""
    step = np.diff(hashes.reshape(-1, SIDE, SIDE + 1).astype(np.int16), axis=2).reshape(-1, BITS)
    return np.where(step > 0, 1, -1).astype(np.float32), (np.abs(step) >= CONTRAST).astype(np.float32)
