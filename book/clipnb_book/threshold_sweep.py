"""valid@k and its change as functions of the threshold tau, and the range of tau that gives the same verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clipnb.errors import UserError
from clipnb.manipulations import CLEAN
from clipnb.metrics.validity import valid_at_k
from clipnb.result import Result
from clipnb.stats.intervals import Interval, direction
from clipnb.stats.sign_flips import FLIPS, change_interval

TAUS = np.round(np.arange(0.05, 2.0001, 0.025), 3)
"""Thresholds of a sweep; the threshold of the runs is added to them."""

FEWER = 9_999
"""Random sign flips at thresholds other than the runs' own."""


@dataclass(frozen=True)
class Sweep:
    """One condition against the clean one at every threshold.

    Attributes:
        condition: label of the condition.
        taus: (t,) thresholds.
        changes: (t,) mean change of valid@k,tau with its interval over the categories that both have.
        tau: the threshold of the runs.
    """

    condition: str
    taus: NDArray[np.float64]
    changes: tuple[Interval, ...]
    tau: float

    @property
    def verdicts(self) -> list[str]:
        """The verdict at each threshold."""
        return [direction(c) for c in self.changes]

    @property
    def verdict(self) -> str:
        """The verdict at the threshold of the runs."""
        return self.verdicts[self._at]

    @property
    def holds(self) -> tuple[float, float]:
        """The range around the runs' threshold in which every threshold gives the same verdict: (lowest, highest)."""
        verdicts, low, high = self.verdicts, self._at, self._at
        while low > 0 and verdicts[low - 1] == self.verdict:
            low -= 1
        while high + 1 < len(verdicts) and verdicts[high + 1] == self.verdict:
            high += 1
        return float(self.taus[low]), float(self.taus[high])

    @property
    def _at(self) -> int:
        return int(np.argmin(np.abs(self.taus - self.tau)))


def sweep(clean: Result, manipulated: Result) -> Sweep:
    """Compare two runs on the same photographs at many thresholds, paired by image and averaged within category.

    Raises:
        UserError: no image has results in both.
    """
    taus = np.unique(np.append(TAUS, clean.spec.tau))
    differences = (_profiles(manipulated, taus) - _profiles(clean, taus)).dropna()
    if differences.empty:
        raise UserError(f"{clean.spec.run_id} and {manipulated.spec.run_id} have no photograph with results in common")
    by_category = differences.groupby(level="category").mean().to_numpy()
    flips = [FLIPS if tau == clean.spec.tau else FEWER for tau in taus]
    changes = tuple(change_interval(d, flips=most) for d, most in zip(by_category.T, flips, strict=True))
    return Sweep(manipulated.label, taus, changes, clean.spec.tau)


def sweeps_of(conditions: Sequence[Result]) -> list[Sweep]:
    """Compare each condition with the clean one at many thresholds."""
    clean = next(r for r in conditions if r.spec.manip == CLEAN)
    return [sweep(clean, r) for r in conditions if r.spec.manip != CLEAN]


def _profiles(result: Result, taus: NDArray[np.float64]) -> pd.DataFrame:
    """valid@k,tau of every image at every threshold, the mean over draws: a performance profile (Agarwal et al. 2021)."""
    table = np.array([*zip_longest(*result.rows["distances"], fillvalue=math.nan)]).T
    frame = pd.DataFrame({tau: valid_at_k(table, tau) for tau in taus.tolist()})
    frame[["category", "image"]] = result.rows[["category", "image"]].to_numpy()
    return frame.groupby(["category", "image"]).mean()
