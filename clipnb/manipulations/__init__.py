"""What is done to a query photograph before it is embedded.

A manipulation takes an RGB array, a random generator and a severity and gives an RGB array. It never sees the encoder.

`study`       the study's blur, crop and grey: its fixed settings, and five severities of each
`everyday`    what happens to photographs on their way through phones and web pages
`imagenet_c`  the fifteen corruptions of ImageNet-C
`base`        what they share: severities, draws, compositions (`grey+blurred`), strength at the encoder's input
"""

from __future__ import annotations

from . import everyday, imagenet_c, study
from .base import DIFFERENCE, MANIPULATIONS, SEVERITIES, Condition, Manipulation, View, condition
from .study import BLUR_SIGMA, CLEAN, STUDY

for _entries in (study.ENTRIES, everyday.ENTRIES, imagenet_c.ENTRIES):
    for _manipulation, _aliases in _entries:
        MANIPULATIONS.register(_manipulation.name, *_aliases)(_manipulation)

__all__ = [
    "BLUR_SIGMA",
    "CLEAN",
    "DIFFERENCE",
    "MANIPULATIONS",
    "SEVERITIES",
    "STUDY",
    "Condition",
    "Manipulation",
    "View",
    "condition",
]
