"""E-mails: addresses of people, and names and passwords in addresses of pages."""

from __future__ import annotations

import re

from evothesis.collector.privacy.signs import REDACTED, compiled, replacing
from evothesis.collector.steps import Steps

# the letters of Latin, Greek and Cyrillic; those of languages without spaces would take the sentence along
_LETTERS = r"A-Za-z\x{c0}-\x{24f}\x{370}-\x{52f}"
_ADDRESS = compiled(
    rf"[{_LETTERS}0-9._%+'-]+@[{_LETTERS}0-9-]+(?:\.[{_LETTERS}0-9-]+)*"
    rf"\.((?i:xn--[0-9a-z-]{{2,59}})|[{_LETTERS}]{{2,24}})"
)
_USERINFO = compiled(r"://[^/?#@\s]*@")
# `logo@2x.png`, `vue@3.2.min.js`: ends of files that are not those of domains
_FILE = compiled(
    r"(?i)png|jpe?g|gif|svg|webp|avif|ico|bmp|[cm]?jsx?|tsx?|s?css|less|map|json|x?html?|php|xml|txt|pdf|woff|ttf|mp[34]|"
    r"webm|t?gz"
)

SIGHT = "@|%40"


def cleaning(text: str) -> Steps[str]:
    """A text without them."""
    if "@" not in text:
        return text
    text = yield from replacing(_USERINFO, "://", text)
    return (yield from replacing(_ADDRESS, _without_address, text))


def _without_address(match: re.Match[str]) -> str:
    return match[0] if _FILE.fullmatch(match[1]) else REDACTED
