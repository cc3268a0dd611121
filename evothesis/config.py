"""Configuration: defaults, a TOML file and the environment in; one frozen `Config` out.

Names and defaults stand in `config.example.toml`; a test compares. How they are read: `configuration.py`.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SECRETS = frozenset({"token", "secret_access_key"})
MASK = "…"

Port = Annotated[int, Meta(ge=1, le=65535)]
NonNegative = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
HttpPath = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._~/-]+$")]
FieldName = Annotated[str, Meta(pattern=r"^[\w.-]*[^\W_][\w.-]*$")]
# as browsers say it: in small letters, without the port that its scheme has anyway
_HOST = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"
Origin = Annotated[
    str,
    Meta(pattern=rf"^(?!http:.*:80$)(?!https:.*:443$)https?://((\*\.)?{_HOST}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?$"),
]
SiteName = Annotated[str, Meta(pattern=rf"^(\*\.{_HOST}|[^*]+)$", max_length=100)]
DESTINATION_URL = re.compile(r"^(file:.+|s3://[^/]+(/.*)?)$")
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def masked(name: str, value: object) -> object:
    """A setting's value as it may be shown: a secret is masked, and the password in a URL or a connection string."""
    if name in SECRETS and value:
        return MASK
    if name == "url" and isinstance(value, str):
        return re.sub(r"(://[^:/@]*:)[^@]*@|(password\s*=\s*)('[^']*'|\S+)", rf"\1\2{MASK}@", value)
    return value


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the configuration file; a key that it does not name is an error."""

    def __repr__(self) -> str:
        """Without secrets, so that a log line or a traceback cannot tell them."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return (
            f"{type(self).__name__}({', '.join(f'{name}={masked(name, value)!r}' for name, value in fields.items())})"
        )


class Server(Table, frozen=True, kw_only=True):
    """The public listener."""

    host: str = "0.0.0.0"  # noqa: S104 - the public collector is meant to be reached from everywhere
    port: Port = 8000
    processes: NonNegative = 0
    proxies: tuple[str, ...] = ()
    collect_path: HttpPath = "/collect"
    script_path: HttpPath = "/tracking.js"
    origins: tuple[Origin, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        """A proxy is an address or a network; a certificate goes with its key."""
        if bool(self.tls_cert) != bool(self.tls_key):
            message = "tls_cert: tls_cert and tls_key are set together, or not at all"
            raise ValueError(message)
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                message = f"proxies: {error}"
                raise ValueError(message) from error


class Admin(Table, frozen=True, kw_only=True):
    """The operator's listener."""

    host: str = "127.0.0.1"
    port: Port = 8001
    token: str = ""


class Privacy(Table, frozen=True, kw_only=True):
    """What is taken away before anything touches a disk."""

    ip: Literal["truncate", "full", "hash", "none"] = "truncate"
    signals: Literal["drop", "anonymise", "ignore"] = "drop"
    fields_redacted: tuple[FieldName, ...] = ()
    fields_kept: tuple[FieldName, ...] = ()


class Enrichment(Table, frozen=True, kw_only=True):
    """What is made of an event and its request, in columns of its own."""

    bots: bool = True
    user_agent: bool = True
    referrer: bool = True
    attribution: bool = True
    country: bool = True
    country_database: str = ""


class Limits(Table, frozen=True, kw_only=True):
    """How much is taken, and of whom; 0, and an empty list, is no limit."""

    per_address: NonNegative = 50
    per_site: NonNegative = 0
    connections: Positive = 4_096
    connections_per_address: NonNegative = 256
    sites: tuple[SiteName, ...] = ()
    events_per_site_and_day: NonNegative = 0


class Spool(Table, frozen=True, kw_only=True):
    """Where accepted events wait for the database."""

    path: Path = Path("var/spool")
    bytes_max: Positive = 4_294_967_296
    age_hours_max: Positive = 72
    loaded_bytes_max: NonNegative = 2_147_483_648


class Database(Table, frozen=True, kw_only=True):
    """PostgreSQL."""

    url: str = "embedded"
    path: Path = Path("var/postgres")
    retention_days: Positive = 90

    @property
    def is_embedded(self) -> bool:
        """Whether the PostgreSQL in the package is used."""
        return self.url == "embedded"


class Destination(Table, frozen=True, kw_only=True):
    """One bucket or folder that receives everything."""

    name: Name = "client"
    url: Annotated[str, Meta(pattern=DESTINATION_URL.pattern)] = "file:var/bucket"
    formats: Annotated[tuple[Literal["parquet", "csv", "ndjson"], ...], Meta(min_length=1)] = ("parquet",)
    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = ""


class Export(Table, frozen=True, kw_only=True):
    """Delivery to buckets."""

    rows_max: Positive = 1_000_000
    signing_key_path: Path = Path("var/signing.key")
    destination: Annotated[tuple[Destination, ...], Meta(min_length=1)] = (Destination(),)

    def __post_init__(self) -> None:
        """A destination's name keeps its state: each has its own."""
        names = [destination.name for destination in self.destination]
        if twice := next((name for name in names if names.count(name) > 1), None):
            message = f"destination: two destinations are named {twice!r}"
            raise ValueError(message)


class Usage(Table, frozen=True, kw_only=True):
    """What events cost."""

    rate_per_thousand: Decimal = Decimal("0.01")
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "USD"

    def __post_init__(self) -> None:
        """A rate is a finite amount of money."""
        if not self.rate_per_thousand.is_finite() or self.rate_per_thousand < 0:
            message = f"`usage.rate_per_thousand` is {self.rate_per_thousand}; it must be 0 or more"
            raise ValueError(message)


class Backup(Table, frozen=True, kw_only=True):
    """Copies of the database, for the day on which it is lost."""

    path: Path = Path("var/backup")
    keep: Positive = 7
    bucket: str = ""
    recipient: str = ""


class Logging(Table, frozen=True, kw_only=True):
    """The log on stderr."""

    format: Literal["text", "json"] = "text"


class Config(Table, frozen=True, kw_only=True):
    """Everything that can be set."""

    instance: Name = "evothesis"
    server: Server = Server()
    admin: Admin = Admin()
    privacy: Privacy = Privacy()
    enrichment: Enrichment = Enrichment()
    limits: Limits = Limits()
    spool: Spool = Spool()
    database: Database = Database()
    export: Export = Export()
    usage: Usage = Usage()
    backup: Backup = Backup()
    log: Logging = Logging()
