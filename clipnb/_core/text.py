"""Text from outside, such as the names of files and galleries, in Markdown and in file names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit


def literal(text: str) -> str:
    """Quote text as a code span, so that Markdown, tables, roles and substitutions in it have no effect."""
    safe = text.replace("{{", "{\u200b{").replace("}}", "}\u200b}").replace("|", "\u2223").replace("\n", " ")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def escaped(text: str) -> str:
    """Text whose characters all stand for themselves in Markdown: no link, tag, emphasis, code, formula or substitution.

    >>> print(escaped("<b>a_1</b>|[x](y)"))
    \\<b\\>a\\_1\\</b\\>\\|\\[x\\](y)
    """
    return re.sub(r"([\\`*_\[\]<>{}|$~&#!]|:(?=//)|(?<=www)\.)", r"\\\1", plain(text))


def plain(text: str) -> str:
    """Text on one line: white space is a space, and another control character its code, so that no terminal obeys it.

    >>> plain("a\\n\\x1b[2J")
    'a \\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def first_of(names: Sequence[str], most: int = 3, mark: str = ", ") -> str:
    """The first names of many, and the number of the others.

    >>> first_of(["a", "b", "c", "d"]), first_of(["a", "b"])
    ('a, b, c and 1 more', 'a, b')
    """
    return mark.join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def word(name: str) -> str:
    """The name of a data set as a word of a command, after its flags.

    >>> print(word("my photos"), word("-lead"))
    'my photos' -- -lead
    """
    return "-- " * name.startswith("-") + shlex.quote(name)


def is_service(gallery: str) -> bool:
    """Whether a gallery is the address of a service."""
    return re.match(r"[a-z][a-z0-9+.-]*://", gallery, re.IGNORECASE) is not None


def looks_like_address(gallery: str) -> bool:
    """Whether a gallery looks like the address of a service without its `http://`."""
    return re.fullmatch(r"(?!nested:|hf:|wds:)([\w.-]+|\[[\da-f:.]+\]):\d+(/.*)?", gallery, re.IGNORECASE) is not None


def address_mistake(address: str) -> str:
    """What is wrong with the address of a service; "" if nothing."""
    try:
        split = urlsplit(address)
        right = split.scheme in ("http", "https") and split.hostname and split.port != 0
    except ValueError:  # of a port or an IPv6 address
        right = False
    if not right:
        return f"a service's address is http://host:port or https://host, not {address!r}"
    secret = split.username or split.password
    return "a service's address must hold no user name or password, because runs and pages record it" if secret else ""


def base_address(address: str) -> str:
    """Reduce the address of any page of a service to `http://host:port`, in lower case, without the usual port.

    >>> base_address("http://Host:80/knn-service"), base_address("https://host:80/a/")
    ('http://host', 'https://host:80/a')
    """
    split = urlsplit(address)
    host = split.netloc.lower().removesuffix({"http": ":80", "https": ":443"}.get(split.scheme, ""))
    return f"{split.scheme}://{host}{split.path.rstrip('/').removesuffix('/knn-service').rstrip('/')}"


def gallery_slug(gallery: str) -> str:
    """Name of a gallery as part of a file name: host and port of a service, or the last part of each folder."""
    if is_service(gallery):
        return file_slug(urlsplit(gallery).netloc)
    return "+".join(file_slug(Path(part.strip()).name) for part in gallery.split(",") if part.strip()) or "photos"


def file_slug(text: str) -> str:
    """A text with dashes for characters that file names should not have."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.")
