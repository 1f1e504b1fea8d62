"""Manipulations of a query photograph before it is embedded: from an RGB array to another. `apply` manipulates one image.

`study` has the study's blur, crop and grey, `everyday` the edits that photographs undergo on phones and web pages, `imagenet_c`
the corruptions of ImageNet-C, `typographic` a written word. `base` says what a manipulation is, and composes them
(`grey+blurred`); `conditions` has one at a severity or strength, and its text form.
"""

from __future__ import annotations

from . import everyday, imagenet_c, study, typographic
from .base import DIFFERENCE, MANIPULATIONS, SEVERITIES, Manipulation, Parameter, View
from .conditions import Condition, apply, condition
from .study import BLUR_SIGMA, CLEAN, STUDY

EVERYDAY = tuple(entry.name for entry in everyday.ENTRIES)

for _manipulation in (*study.ENTRIES, *everyday.ENTRIES, *typographic.ENTRIES, *imagenet_c.ENTRIES):
    MANIPULATIONS.register(_manipulation, _manipulation.name, *_manipulation.aliases)

__all__ = ["BLUR_SIGMA", "CLEAN", "DIFFERENCE", "EVERYDAY", "MANIPULATIONS", "SEVERITIES", "STUDY", "Condition", "Manipulation"]
__all__ += ["Parameter", "View", "apply", "condition"]
