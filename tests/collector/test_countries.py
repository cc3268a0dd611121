"""Countries: the client's whole address in, its country out, and nothing else of what the address tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evothesis.collector.policy import Policy
from evothesis.config import Enrichment, Privacy
from evothesis.errors import ConfigurationError
from tests.appliance import Appliance
from tests.collector.copy_text import Row, stored
from tests.collector.mmdb import database

CLICK = {"eventType": "click", "siteId": "s"}
GEOLITE = {"country": {"iso_code": "NO", "names": {"en": "Norway"}}, "city": {"names": {"en": "Oslo"}}}


def row(peer: str | None, privacy: Privacy | None = None, **fields: Any) -> Row:  # noqa: ANN401 - of stored
    """The columns of a click from an address."""
    (found,) = stored(CLICK, privacy, peer=peer, **fields)
    return found


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("8.8.8.8", "US"),
        ("193.0.6.139", "NL"),
        ("194.25.0.68", "DE"),
        ("212.27.48.10", "FR"),
        ("202.12.27.33", "JP"),
        ("2001:4860:4860::8888", "US"),
        ("2a02:908::1", "DE"),
        ("::ffff:194.25.0.68", "DE"),
        ("10.1.2.3", None),
        ("192.168.1.1", None),
        ("127.0.0.1", None),
        ("192.0.2.7", None),
        ("198.51.100.7", None),
        ("2001:db8::1", None),
        ("fe80::1%eth0", None),
        ("::1", None),
        ("0.0.0.0", None),  # noqa: S104 - an address that somebody forwards
        ("255.255.255.255", None),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_list(peer: str | None, expected: str | None) -> None:
    """A public address has the country to which it is assigned; others have none."""
    assert expected == row(peer)["country"]


@pytest.mark.parametrize("mode", ["truncate", "full", "hash", "none"])
def test_whole_address(mode: Any) -> None:  # noqa: ANN401 - a literal
    """The country is that of the whole address, whatever is kept of it."""
    assert "DE" == row("194.25.0.68", Privacy(ip=mode))["country"]


def test_none_but_country() -> None:
    """Where no address is kept the country still is, unless that is switched off too."""
    nothing = Privacy(ip="none")

    assert (None, "DE") == tuple(row("194.25.0.68", nothing)[name] for name in ("ip_address", "country"))
    assert row("194.25.0.68", nothing, enrichment=Enrichment(country=False))["country"] is None


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (GEOLITE, "NO"),
        ({"country": "Norway", "country_code": "NO"}, "NO"),
        ({"country": "NO"}, "NO"),
        ({"country_code": "NO"}, "NO"),
    ],
    ids=["GeoLite2", "IPinfo Lite", "IPinfo", "ip-location-db"],
)
def test_database(tmp_path: Path, record: dict[str, Any], expected: str) -> None:
    """A database is asked instead of the list, in any of the usual forms; what it does not know has no country."""
    path = tmp_path / "countries.mmdb"
    path.write_bytes(database({"8.0.0.0/8": record, "9.0.0.0/8": {"continent": "x"}, "192.168.0.0/16": record}))
    enrichment = Enrichment(country_database=str(path))

    addresses = ["8.8.8.8", "9.9.9.9", "194.25.0.68", "192.168.0.1", "2a02:908::1", "no address"]
    assert [expected, *[None] * 5] == [row(peer, enrichment=enrichment)["country"] for peer in addresses]


def test_database_goes(tmp_path: Path) -> None:
    """Whatever becomes of the file, what was read at the start is asked."""
    path = tmp_path / "countries.mmdb"
    path.write_bytes(database({"8.0.0.0/8": GEOLITE}))
    enrichment = Enrichment(country_database=str(path))
    Policy(enrichment=enrichment)
    path.write_bytes(b"")
    path.unlink()

    assert "NO" == row("8.8.8.8", enrichment=enrichment)["country"]


def test_corrupt_record(tmp_path: Path) -> None:
    """A record that cannot be read is no country, and no error."""
    path = tmp_path / "countries.mmdb"
    sound = database({"8.0.0.0/8": GEOLITE, "9.0.0.0/8": {"country": "DE"}})
    path.write_bytes(sound.replace(b"\xe1Gcountry", b"\xfeGcountry"))  # a map with more members than there are
    enrichment = Enrichment(country_database=str(path))

    assert ["NO", None] == [row(peer, enrichment=enrichment)["country"] for peer in ("8.8.8.8", "9.9.9.9")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "valid MaxMind DB file"),
        (b"<html>" * 100, "valid MaxMind DB file"),
        (database({"8.0.0.0/8": GEOLITE})[:-20], ""),
        (database({"8.0.0.0/8": {"autonomous_system_number": 1}}), "knows no countries"),
    ],
    ids=["absent", "empty", "another file", "cut", "of networks"],
)
def test_unusable(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """A database that cannot be read, or knows no countries, is named before anything runs."""
    path = tmp_path / "countries.mmdb"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=rf"enrichment\.country_database {path}.*{reason}") as caught:
        Policy(enrichment=Enrichment(country_database=str(path)))
    assert caught.value.hint


def test_unusable_at_start(tmp_path: Path) -> None:
    """`serve` ends with 2 at once, and nothing was started."""
    appliance = Appliance(tmp_path, {"enrichment": {"country_database": "absent.mmdb"}})
    done = appliance.cli("serve")

    assert 2 == done.returncode
    assert done.stderr.startswith("Error: cannot read enrichment.country_database absent.mmdb: No such file")
    assert not appliance.spool.exists()
