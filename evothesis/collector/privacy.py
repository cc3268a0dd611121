"""Privacy: an event in, the event with less in it out. Pure, and linear in the size of its input.

Runs before the first byte is written. Cleaned are e-mail addresses and payment cards in any text, and the values of
telling parameters in addresses of pages. Ids, times, prices and product codes come out as they went in.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import date
from functools import lru_cache

import re2  # type: ignore[import-untyped]  # it has no stubs

from evothesis.event import Json

REDACTED = "[redacted]"
CARD_DIGITS_MIN = 13
CACHED_MAX = 4_096  # addresses and agents come back with every request of a visit
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48  # a street at most; what the European authorities' guidance calls truncation

# parts of the names of parameters whose values speak of a person or open a door
_NAMES = (
    "mail|token|passw|pwd|secret|auth|session|phone|mobile|firstname|lastname|surname|username|"
    "api_?key|signature|jwt|iban|card|cvv|cvc|birth|ssn"
)
_EMAIL = re2.compile(r"[A-Za-z0-9._%+'-]{1,64}(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}")
_USERINFO = re2.compile(r"://[^/?#@\s]*@")
_CARD = re2.compile(r"\b[2-6]\d{3}(?:[ -]?\d){9,15}\b")
_PARAMETER = re2.compile(rf"([?&#;])([^=&#;?\s]*(?i:{_NAMES})[^=&#;?\s]*)=([^&#;\s]+)")
_UUID = re2.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

# What JSON text must have for any of the rules to apply; an escape (\u0040) could hide it, and is odd by itself
SUSPICIOUS = rf"""@|%40|\b[2-6]\d{{3}}[ -]?\d{{4,6}}[ -]?\d{{3}}|[?&#;][^"=&]*(?i:{_NAMES})[^"=&]*="""


def cleaned(value: Json) -> Json:
    """A JSON value with the personal data in its texts replaced by `[redacted]`."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [cleaned(part) for part in value]
    if isinstance(value, dict):
        return {_clean(key): cleaned(part) for key, part in value.items()}
    return value


@lru_cache(CACHED_MAX)
def cleaned_text(text: str | None) -> str | None:
    """A single text, such as an address or a user agent."""
    return _clean(text) if text else text


@lru_cache(CACHED_MAX)
def address(peer: str | None, mode: str, salt: bytes, day: date) -> str | None:
    """The client's address as it may be kept, in a form that PostgreSQL's inet takes; None when it may not be.

    `mode` is [privacy] ip. A hash is a unique local IPv6 address (fd00::/8, RFC 4193), the same for one client during
    one UTC day.
    """
    if not peer or mode == "none":
        return None
    try:
        ip = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if mode == "hash":
        digest = hashlib.blake2b(ip.packed + day.isoformat().encode(), key=salt, digest_size=15).digest()
        return str(ipaddress.IPv6Address(b"\xfd" + digest))
    if mode == "full":
        return str(ip)
    prefix = _IPV4_PREFIX if ip.version == 4 else _IPV6_PREFIX  # noqa: PLR2004 - the version's own number
    return str(ipaddress.ip_network((ip, prefix), strict=False).network_address)


def _clean(text: str) -> str:
    """Apply each rule whose one indispensable character is there; most texts have none of them."""
    if "=" in text:
        text = _PARAMETER.sub(rf"\1\2={REDACTED}", text)
    if "@" in text or "%40" in text:
        text = _USERINFO.sub("://", text)
        text = _EMAIL.sub(REDACTED, text)
    if len(text) >= CARD_DIGITS_MIN and not _UUID.fullmatch(text) and _CARD.search(text):
        text = _CARD.sub(lambda match: REDACTED if _is_card(match.group()) else match.group(), text)
    return str(text)


# prefixes of issuers' numbers with the lengths that they have, ISO/IEC 7812
_ISSUERS = (
    (re2.compile(r"4"), {13, 16, 19}),
    (re2.compile(r"5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720"), {16}),
    (re2.compile(r"3[47]"), {15}),
    (re2.compile(r"3[0689]"), {14, 16, 19}),
    (re2.compile(r"35|6011|62|64|65"), {16, 19}),
)


def _is_card(text: str) -> bool:
    """Whether digits are a card's number: an issuer's prefix and length, and Luhn's check."""
    digits = [int(character) for character in text if character.isdigit()]
    number = "".join(map(str, digits))
    if not any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUERS):
        return False
    doubled = (sum(divmod(digit * 2, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
