"""Configuration: defaults, a TOML file and the environment in; one frozen `Config` out.

Names and defaults stand in `config.example.toml`; a test compares. How they are read: `configuration.py`.
"""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from evothesis.currency import unit
from evothesis.sealed import Secrets
from evothesis.setting import (
    DESTINATION_URL,
    ColumnName,
    FieldName,
    HttpPath,
    Kind,
    Layout,
    MailAddress,
    MaybeMailAddress,
    Name,
    NonNegative,
    Origin,
    Port,
    Positive,
    PublicUrl,
    SiteName,
    Table,
    signing_keys,
)

MONEY_MAX = 10**12  # above it is a slip of the pen, and no longer exact


class Server(Table, frozen=True, kw_only=True):
    """The public listener."""

    host: str = "0.0.0.0"  # noqa: S104 - the public collector is meant to be reached from everywhere
    port: Port = 8000
    processes: NonNegative = 0
    proxies: tuple[str, ...] = ()
    collect_path: HttpPath = "/collect"
    script_path: HttpPath = "/tracking.js"
    origins: tuple[Origin, ...] = ()
    public_url: PublicUrl = ""
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
    """One bucket or folder, and what it receives: everything, unless it says otherwise."""

    name: Name = "client"
    url: Annotated[str, Meta(pattern=DESTINATION_URL.pattern)] = "file:var/bucket"
    formats: Annotated[tuple[Literal["parquet", "csv", "ndjson"], ...], Meta(min_length=1)] = ("parquet",)
    layout: Layout = "dt={dt}/hr={hr}"
    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = ""
    role_arn: str = ""
    external_id: str = ""
    encryption: Literal["default", "sse-s3", "sse-kms"] = "default"
    kms_key_id: str = ""
    storage_class: Annotated[str, Meta(pattern=r"^(?!GLACIER$|DEEP_ARCHIVE$)[A-Z0-9_-]*$")] = ""
    sites: tuple[SiteName, ...] = ()
    sites_except: tuple[SiteName, ...] = ()
    event_types: tuple[str, ...] = ()
    columns: tuple[ColumnName, ...] = ()
    columns_except: tuple[ColumnName, ...] = ()
    columns_renamed: dict[ColumnName, ColumnName] = msgspec.field(default_factory=dict)
    columns_hashed: tuple[ColumnName, ...] = ()

    def __post_init__(self) -> None:
        """What belongs to a setting that is not set would be ignored."""
        if self.external_id and not self.role_arn:
            message = "external_id: there is no `role_arn` that it could be for"
            raise ValueError(message)
        if self.kms_key_id and self.encryption != "sse-kms":
            message = 'kms_key_id: it is used with `encryption = "sse-kms"` only'
            raise ValueError(message)


class Export(Table, frozen=True, kw_only=True):
    """Delivery to buckets."""

    rows_max: Positive = 1_000_000
    signing_key_path: Path = Path("var/signing.key")
    request_path: str = ""
    destination: Annotated[tuple[Destination, ...], Meta(min_length=1)] = (Destination(),)

    def __post_init__(self) -> None:
        """A destination's name keeps its state: each has its own."""
        names = [destination.name for destination in self.destination]
        if twice := next((name for name in names if names.count(name) > 1), None):
            message = f"destination: two destinations are named {twice!r}"
            raise ValueError(message)


class Tier(Table, frozen=True, kw_only=True):
    """What an event costs when there are many."""

    above: Positive
    rate_per_thousand: Decimal


class AddOn(Table, frozen=True, kw_only=True):
    """What is paid every month, however many events there are."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    amount: Decimal


class Usage(Table, frozen=True, kw_only=True):
    """What events cost: a tariff."""

    rate_per_thousand: Decimal = Decimal("0.01")
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "USD"
    billable: Literal["people", "all"] = "people"
    free_events: NonNegative = 0
    tiers: tuple[Tier, ...] = ()
    tier_style: Literal["graduated", "volume"] = "graduated"
    minimum: Decimal = Decimal(0)
    add_ons: tuple[AddOn, ...] = ()

    def __post_init__(self) -> None:
        """Money is finite and not negative, what stands on an invoice as it is can be paid, tiers rise."""
        rates = [("rate_per_thousand", self.rate_per_thousand)]
        rates += [("tiers", tier.rate_per_thousand) for tier in self.tiers]
        amounts = [("minimum", self.minimum), *(("add_ons", add_on.amount) for add_on in self.add_ons)]
        for name, money in [*rates, *amounts]:
            if not money.is_finite() or not 0 <= money < MONEY_MAX:
                message = f"{name}: {money} is no price; it must be 0 or more, and below {MONEY_MAX:,}"
                raise ValueError(message)
        for name, money in amounts:
            if money % unit(self.currency):
                message = f"{name}: {money} cannot be paid in {self.currency}, in units of {unit(self.currency)}"
                raise ValueError(message)
        bounds = [tier.above for tier in self.tiers]
        if bounds != sorted(set(bounds)):
            message = f"tiers: they begin above {', '.join(map(str, bounds))}; each must begin above the one before"
            raise ValueError(message)


class Backup(Table, frozen=True, kw_only=True):
    """Copies of the database, for the day on which it is lost."""

    path: Path = Path("var/backup")
    keep: Positive = 7
    bucket: str = ""
    recipient: str = ""


class Notify(Table, frozen=True, kw_only=True):
    """Who is told what happens, and when something is worth telling."""

    webhook_url: Annotated[str, Meta(pattern=r"^(https?://[^\s/?#@]+([/?]\S*)?)?\Z")] = ""
    webhook_secret: str = ""
    webhook_private: bool = False
    webhook_without: tuple[Kind, ...] = ()
    email_to: tuple[MailAddress, ...] = ()
    email_from: MaybeMailAddress = ""
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
        return signing_keys(self.webhook_secret)


class Logging(Table, frozen=True, kw_only=True):
    """The log on stderr."""

    format: Literal["text", "json"] = "text"


class Config(Table, frozen=True, kw_only=True):
    """Everything that can be set."""

    instance: Name = "evothesis"
    secrets: Secrets = Secrets()
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
    notify: Notify = Notify()
    log: Logging = Logging()
