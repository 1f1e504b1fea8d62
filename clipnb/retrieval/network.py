"""What client and fetcher share: running asyncio from anywhere, and connecting to public addresses only."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import MissingExtra

T = TypeVar("T")


def aiohttp() -> Any:
    """The HTTP library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import aiohttp
    except ModuleNotFoundError as error:
        raise MissingExtra("a gallery that is a service", "service") from error
    return aiohttp


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a notebook too, where this thread has a loop that is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    finally:  # an interrupt ends up here too
        future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)


class Refused(OSError):
    """A connection that is not made: the address is private."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to a machine on the internet: not private, loopback, link-local, multicast, ...

    An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is judged by that too.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    carried: list[ipaddress.IPv4Address | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in ipaddress.ip_network("64:ff9b::/96") else None
        carried = [ip.ipv4_mapped, ip.sixtofour, nat64, *(ip.teredo or ())]
    return all(a.is_global and not a.is_multicast for a in (ip, *carried) if a is not None)


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that was looked up, if it is public; the connection is then made to this very address.

    Raises:
        Refused: it is not.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise Refused(errno.EACCES, f"{address[0]} is not a public address")
    return socket.socket(family, kind, protocol)
