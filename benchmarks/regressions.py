"""Models of statsmodels with one parameter, a mean, as checks of the intervals over categories."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from populations import Codes, Vector
from scipy import special, stats


def _of_model(model: Any, n: int, **options: Any) -> tuple[float, float]:
    """Interval of the mean of a model with one parameter, its logit, by t with n - 1 degrees of freedom; NaN if the fit fails."""
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, IterationLimitWarning

    with warnings.catch_warnings(action="ignore"):
        for failed in (ConvergenceWarning, IterationLimitWarning):
            warnings.simplefilter("error", failed)
        try:
            fit = model.fit(**options)
        except (np.linalg.LinAlgError, ValueError, ConvergenceWarning, IterationLimitWarning):
            return math.nan, math.nan
    low, high = special.expit(fit.params[0] + np.array([-1, 1]) * stats.t.ppf(0.975, n - 1) * fit.bse[0])
    return float(low), float(high)


def beta(means: Vector) -> tuple[float, float]:
    """Interval by beta regression of category means, which are kept off 0 and 1."""
    from statsmodels.othermod.betareg import BetaModel

    within = np.clip(means, 1e-3, 1 - 1e-3)
    return _of_model(BetaModel(within, np.ones((means.size, 1))), means.size, disp=0)


def logistic(images: Vector, sizes: Codes) -> tuple[float, float]:
    """Interval by a logistic model of images, alike within categories: estimating equations with a corrected robust error."""
    import statsmodels.api as sm

    groups, alike = np.repeat(np.arange(sizes.size), sizes), sm.cov_struct.Exchangeable()
    model = sm.GEE(images, np.ones((images.size, 1)), groups=groups, family=sm.families.Binomial(), cov_struct=alike)
    return _of_model(model, sizes.size, cov_type="bias_reduced")
