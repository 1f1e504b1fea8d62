"""`clipnb fetch`: download the data sets of the study and lay them out as <category>/<image>.

`sources`   the published archives, and the libraries that download them (kagglehub, gdown)
`archives`  reads archives that may be hostile
`fetching`  checks the checksum and writes the data set, completely or not at all
`layout`    maps the folders of an archive to categories
"""

from __future__ import annotations

from .fetching import fetch
from .sources import SOURCES

__all__ = ["SOURCES", "fetch"]
