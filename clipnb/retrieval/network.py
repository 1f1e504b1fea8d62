"""Functions that client and fetcher share: run coroutines from any thread, read a body, and connect to public addresses only."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import needs

T = TypeVar("T")


def aiohttp() -> Any:
    """Import the HTTP library; `MissingExtra` if it is not installed."""
    with needs("a gallery that is a service", "service"):
        import aiohttp
    return aiohttp


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also in a notebook, where an event loop already runs in this thread."""
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
    finally:  # also after an interrupt
        future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)


async def at_once(work: Callable[[], Coroutine[Any, Any, None]], n: int) -> None:
    """Run n workers to their end; if one fails, or after an interrupt, the others are cancelled."""
    workers = [asyncio.create_task(work()) for _ in range(n)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def body_of(response: Any, most: int) -> bytes | None:
    """The body of an answer; None if it has more than `most` bytes, as stated or after decompression."""
    if (response.content_length or 0) > most:
        return None
    body = bytearray()
    async for part in response.content.iter_chunked(2**16):
        body += part
        if len(body) > most:
            return None
    return bytes(body)


def is_public(address: str) -> bool:
    """Whether an IP address is reachable from the internet, so not private, loopback, link-local or multicast.

    If an IPv6 address carries an IPv4 address (mapped, 6to4, Teredo, NAT64), that address must be public too.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    carried: list[ipaddress.IPv4Address | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in ipaddress.ip_network("64:ff9b::/96") else None
        carried = [ip.ipv4_mapped, ip.sixtofour, nat64, *(ip.teredo or ())]
    return all(a.is_global and not a.is_multicast for a in (ip, *carried) if a is not None)


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make a socket for a resolved address, which is the one connected to; an OSError if it is not public."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise OSError(errno.EACCES, f"{address[0]} is not a public address")
    return socket.socket(family, kind, protocol)
