"""Addresses of the network: the client's, and those that stand in a text."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
from functools import lru_cache

from evothesis.collector.privacy.signs import LEFT, REDACTED, compiled, replacing
from evothesis.collector.steps import Steps

CACHED_MAX = 4_096  # addresses come back with every request of a visit
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48  # a street at most; what the European authorities' guidance calls truncation

_COLON = r"(?::|%3[aA])"
SIGHT = (
    r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|"
    rf"{LEFT}[23fF][0-9A-Fa-f]{{3}}{_COLON}(?:{_COLON}|[0-9A-Fa-f]{{1,4}}{_COLON}(?:{_COLON}|[0-9A-Fa-f]{{1,4}}{_COLON}))"
)
# Whole runs, so that a version of five parts is no address
_CANDIDATE = compiled(r"[0-9]+(?:\.[0-9]+){3,}|[0-9A-Fa-f]{4}:[0-9A-Fa-f:]{1,35}(?:\.[0-9]+){0,3}")
# Before the numbers of versions, and of servers in the addresses of pages
_NOT_BEFORE = compiled(r"(?i)(?:[\p{L}\p{N}._@-]|//\[?|\bv(?:ersion)?[ .:=]{1,2}|\bbuild ?|\brelease ?)$")
_BEFORE_LENGTH = 12
_WORD = compiled(r"""[^\s"'<>()=,;]*$""")
_WORD_LENGTH_MAX = 256


@lru_cache(CACHED_MAX)
def address(peer: str | None, mode: str, salt: bytes) -> str | None:
    """The client's address as it may be kept, in a form that PostgreSQL's inet takes; None when it may not be.

    `mode` is [privacy] ip. A hash is a unique local IPv6 address (fd00::/8, RFC 4193), the same for one client
    and salt.
    """
    if not peer or mode == "none":
        return None
    ip = parsed(peer)
    if ip is None:
        return None
    if mode == "hash":
        digest = hashlib.blake2b(ip.packed, key=salt, digest_size=15).digest()
        return str(ipaddress.IPv6Address(b"\xfd" + digest))
    return str(ip) if mode == "full" else _truncated(ip)


def parsed(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The other end of a connection, without its zone; an IPv4 address within IPv6 is one of IPv4."""
    try:
        ip = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def cleaning(text: str, mode: str) -> Steps[str]:
    """A text whose addresses are truncated too, or redacted where the client's address is not kept in a readable form.

    Addresses of private networks and of servers, `https://192.0.2.1/`, tell nothing of a visitor.
    """

    def kept(match: re.Match[str]) -> str:
        begin, end = match.span()
        before = text[max(0, begin - _BEFORE_LENGTH) : begin]
        if _NOT_BEFORE.search(before) or text[end : end + 1].isalnum() or _is_of_product(text, begin):
            return match[0]
        found = match[0].rstrip(":")  # of a sentence
        public = _truncated_public(found)
        if public is None:
            return match[0]
        return public + match[0][len(found) :] if mode == "truncate" else REDACTED

    return text if mode == "full" else (yield from replacing(_CANDIDATE, kept, text))


def _is_of_product(text: str, begin: int) -> bool:
    """Whether a slash before a number is that of `Chrome/1.2.3.4`, not one of a path."""
    if text[begin - 1 : begin] != "/":
        return False
    word = _WORD.search(text[max(0, begin - _WORD_LENGTH_MAX) : begin])[0]
    return len(word) < _WORD_LENGTH_MAX and not word.startswith("/") and "://" not in word


def _truncated(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    prefix = _IPV4_PREFIX if ip.version == 4 else _IPV6_PREFIX  # noqa: PLR2004 - the version's own number
    return str(ipaddress.ip_network((ip, prefix), strict=False).network_address)


def _truncated_public(text: str) -> str | None:
    """By the C library, in a hundredth of the time; None when it is no address, or not a public one."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        packed = socket.inet_pton(family, text)
    except OSError:
        return None
    if family == socket.AF_INET6:
        is_public = packed[0] >> 5 == 1 or packed[0] in (0xFC, 0xFD, 0xFE)  # 2000::/3, fc00::/7, fe80::/10
        return socket.inet_ntop(family, packed[:6] + bytes(10)) if is_public else None
    first, second = packed[:2]
    is_private = first in (0, 10, 127) or (first == 172 and second >> 4 == 1) or (first == 192 and second == 168)  # noqa: PLR2004 - RFC 1918
    return None if is_private else socket.inet_ntop(family, packed[:3] + bytes(1))
