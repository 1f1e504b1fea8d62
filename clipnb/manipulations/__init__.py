"""Manipulations of a query photograph before it is embedded.

A manipulation turns an RGB array into another RGB array, given a random generator and a severity. It does not depend on
the encoder. `apply` manipulates one image.

`study`       the study's blur, crop and grey: its fixed settings, and five severities of each
`everyday`    edits that photographs undergo on phones, in messengers and on web pages
`imagenet_c`  the fifteen corruptions of ImageNet-C
`typographic` the name of another category written on the photograph
`base`        severities, draws, compositions (`grey+blurred`), strength at the encoder's input
`conditions`  a manipulation at a severity or strength, and its text form
"""

from __future__ import annotations

from . import everyday, imagenet_c, study, typographic
from .base import DIFFERENCE, MANIPULATIONS, SEVERITIES, Manipulation, View
from .conditions import Condition, apply, condition
from .study import BLUR_SIGMA, CLEAN, STUDY

EVERYDAY = tuple(entry.name for entry in everyday.ENTRIES)
"""Edits that photographs undergo on phones, in messengers and on web pages."""

for _manipulation in (*study.ENTRIES, *everyday.ENTRIES, *typographic.ENTRIES, *imagenet_c.ENTRIES):
    MANIPULATIONS.register(_manipulation.name, *_manipulation.aliases)(_manipulation)

__all__ = ["BLUR_SIGMA", "CLEAN", "DIFFERENCE", "EVERYDAY", "MANIPULATIONS", "SEVERITIES", "STUDY", "Condition", "Manipulation"]
__all__ += ["View", "apply", "condition"]
