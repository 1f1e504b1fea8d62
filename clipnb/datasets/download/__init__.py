"""`clipnb fetch`: the study's data sets from where they are published, laid out as any other.

`sources`   what is fetched, and by which library (kagglehub, gdown)
`archives`  reading an archive that may be hostile
`fetching`  all of it or nothing, checksums, where it is put
`layout`    from whatever folders it holds to <category>/<image>
"""

from __future__ import annotations

from .fetching import fetch
from .sources import SOURCES

__all__ = ["SOURCES", "fetch"]
