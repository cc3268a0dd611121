"""Configuration: defaults, a TOML file and the environment in; one frozen `Config` out.

Names and defaults stand in `config.example.toml`; a test compares. How they are read: `configuration.py`.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SECRETS = frozenset({"token", "secret_access_key", "webhook_secret", "smtp_password"})
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
_MAILBOX = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+"
MailAddress = Annotated[str, Meta(pattern=rf"^{_MAILBOX}\Z")]
Kind = Literal[
    "usage.daily",
    "usage.threshold",
    "usage.spike",
    "usage.silence",
    "site.discovered",
    "invoice.closed",
    "export.late",
    "export.failed",
]


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

    def __post_init__(self) -> None:
        """A proxy is an address or a network."""
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


class Notify(Table, frozen=True, kw_only=True):
    """Who is told what happens, and when something is worth telling."""

    webhook_url: Annotated[str, Meta(pattern=r"^(https?://[^\s/?#@]+([/?]\S*)?)?\Z")] = ""
    webhook_secret: str = ""
    webhook_private: bool = False
    webhook_without: tuple[Kind, ...] = ()
    email_to: tuple[MailAddress, ...] = ()
    email_from: Annotated[str, Meta(pattern=rf"^({_MAILBOX})?\Z")] = ""
    email_without: tuple[Kind, ...] = ()
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: str = ""
    events_expected: NonNegative = 0
    budget: Decimal = Decimal(0)
    thresholds: tuple[Positive, ...] = (50, 80, 100, 120)
    spike_percent: Annotated[int, Meta(ge=101)] = 300
    export_late_hours: Positive = 6

    def __post_init__(self) -> None:
        """A message can be signed, and sent without being read on its way; a mail has a sender and a server."""
        if self.webhook_url.startswith("http:") and not self.webhook_private:
            message = "webhook_url: it begins with http:; only https is encrypted, or set webhook_private"
            raise ValueError(message)
        keys = self.webhook_keys  # also of a secret that is not used yet
        if self.webhook_url and not keys:
            message = "webhook_secret: webhook_url needs one: whsec_ and 24 to 64 random bytes in base64"
            raise ValueError(message)
        for name, value in (("email_from", self.email_from), ("smtp_host", self.smtp_host)):
            if self.email_to and not value:
                message = f"{name}: email_to needs it"
                raise ValueError(message)
        if not self.budget.is_finite() or self.budget < 0:
            message = f"budget: {self.budget} is no amount of money"
            raise ValueError(message)

    @property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """What every message is signed with: one key, or several while one replaces another. Raises ValueError."""
        keys = []
        for secret in self.webhook_secret.split():
            try:
                key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not (secret.startswith("whsec_") and 24 <= len(key) <= 64):  # noqa: PLR2004 - of the specification
                message = "webhook_secret: each must be whsec_ and 24 to 64 random bytes in base64"
                raise ValueError(message)
            keys.append(key)
        return tuple(keys)


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
    notify: Notify = Notify()
    log: Logging = Logging()
