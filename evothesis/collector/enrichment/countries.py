"""Countries: the whole address of a client in, the country that it belongs to out. Never more than that.

Without a database, the country to which a registry has assigned the address, from the list in `iptocc`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import iptocc

from evothesis.collector.privacy.addresses import parsed
from evothesis.errors import ConfigurationError

if TYPE_CHECKING:
    from maxminddb import Reader

_CODE = re.compile(r"[A-Z]{2}")
_NO_COUNTRIES = frozenset({"AP", "EU", "ZZ"})  # registries' words for a region, and for nowhere
_RECORDS_LOOKED_AT = 1_000  # to see whether a database knows countries
# what the reader raises of a file that is not what it says (a RuntimeError of its own, among others), and of an IPv6
# address in a database of IPv4
_UNREADABLE = (RuntimeError, ValueError, TypeError)


class Countries:
    """The list in the package, or a database of the operator's."""

    def __init__(self, database: str) -> None:
        """`database` is a path; "" for the list. Raises ConfigurationError."""
        self._database = _opened(database) if database else None

    def code(self, peer: str) -> str | None:
        """ISO 3166-1 alpha-2; None for what is no public address, or nobody's."""
        ip = parsed(peer)
        if ip is None or not ip.is_global:
            return None
        if self._database is None:
            return _checked(iptocc.country_code(str(ip)))
        try:
            return _code_in(self._database.get(ip))
        except _UNREADABLE:
            return None


def _opened(path: str) -> Reader:
    from maxminddb import MODE_MEMORY, open_database

    try:
        # the whole file: one that is overwritten while it is mapped would take the process along
        database = open_database(path, MODE_MEMORY)
        knows_countries = any(_code_in(record) for _, record in islice(database, _RECORDS_LOOKED_AT))
    except (OSError, *_UNREADABLE) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"cannot read enrichment.country_database {path}: {reason}"
        raise ConfigurationError(message, hint='name a file in MaxMind\'s format, or ""') from error
    if not knows_countries:
        message = f"enrichment.country_database {path} knows no countries"
        raise ConfigurationError(message, hint="take one of countries or cities")
    return database


def _code_in(record: object) -> str | None:
    """The country in a record, as GeoLite2 and DB-IP write it, as IPinfo does, or ip-location-db."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    said = country.get("iso_code") if isinstance(country, dict) else country
    return _checked(said) or _checked(record.get("country_code"))


def _checked(code: object) -> str | None:
    return code if isinstance(code, str) and _CODE.fullmatch(code) and code not in _NO_COUNTRIES else None
