"""Referrers: the page before a page in, what kind of place it is and whose out.

Sites are told apart by the part of their name that somebody registered, by the Public Suffix List; the places that are
known stand in `referrers.toml`.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

DIRECT, INTERNAL, REFERRAL = "direct", "internal", "referral"
_APP = "android-app"  # https://developer.android.com/reference/android/content/Intent#EXTRA_REFERRER
_SCHEMES = frozenset({"http", "https", _APP})
_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+")
_HOST_LENGTH_MAX = 253  # RFC 1035
# suffixes under which a company has the sites of its countries; under others anybody may be "google"
_NATIONAL = re.compile(r"com|net|org|[a-z]{2}|com?\.[a-z]{2}")


class Referrer(NamedTuple):
    """The columns referrer_type and referrer_source."""

    type: str | None
    source: str | None


NOTHING = Referrer(None, None)


class Referrers:
    """Known places, and the Public Suffix List."""

    def __init__(self) -> None:
        """Read both."""
        self._suffixes = PublicSuffixList()
        self._known = known()

    def classify(self, referrer: str, page: str) -> Referrer:
        """What came before a page; `referrer` is "" when nothing did. `page` is its origin, or the name of its site."""
        if not referrer.strip():
            return Referrer(DIRECT, None)
        place = _place(referrer)
        if place is None:
            return NOTHING
        scheme, host = place
        if scheme == _APP:
            return self._known.get(host, Referrer(REFERRAL, host))
        site = self._site(host)
        here = _place(page)
        if site == self._site(here[1] if here else page.lower()):
            return Referrer(INTERNAL, site)
        return self._find(host, site) or Referrer(REFERRAL, site)

    def _site(self, host: str) -> str:
        """The registered part of a name; an address is its own, and so is what nobody can register."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self._suffixes.privatesuffix(host) or host
        return host

    def _find(self, host: str, site: str) -> Referrer | None:
        """The most exact entry: `mail.google.com` stands before `google.*`."""
        suffix = site.partition(".")[2]
        is_national = _NATIONAL.fullmatch(suffix) is not None
        while host:
            found = self._known.get(host)
            if found is None and is_national:
                found = self._known.get(host.removesuffix(suffix) + "*")
            if found or host == site:
                return found
            host = host.partition(".")[2]
        return None


referrers = lru_cache(Referrers)  # whatever is configured beside them


def known() -> dict[str, Referrer]:
    """Every domain, every name with `*` for the suffix, and every app of the list."""
    listed = tomllib.loads(files(__package__).joinpath("referrers.toml").read_text(encoding="utf-8"))
    return {
        place: Referrer(kind, source)
        for kind, sources in listed.items()
        for source, places in sources.items()
        for place in places.split()
    }


def _place(url: str) -> tuple[str, str] | None:
    """Scheme and host; None when it is no page and no app."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or len(host) > _HOST_LENGTH_MAX or not _HOST.fullmatch(host):
        return None
    return parts.scheme, host
