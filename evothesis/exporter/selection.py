"""Selection: which events a destination gets, which of their columns, and under which names. Pure.

A delivery remembers the one that it was planned with: a configuration that changes later changes nothing of it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import polars as pl

from evothesis.config import Destination
from evothesis.errors import ConfigurationError
from evothesis.exporter.columns import COLUMNS, SCHEMA_VERSION, Column, Kind, columns

SITE = "site_id"  # what manifests count by: always delivered, in clear
BOT = "is_bot"
RAW = "raw_event_data"
# what a sender says of an event, which therefore stands in the raw event too
SAID = frozenset({"event_id", "event_type", "session_id", "visitor_id", "timestamp", "url", "path"})
HASH_BYTES = 16  # of HMAC-SHA256: two of a trillion values are the same with a chance of one in 10^14
_KNOWN = {column.name: column for column in COLUMNS}


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of a destination of these names; one that says nothing takes everything."""

    sites: tuple[str, ...] = ()
    sites_except: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    columns_except: tuple[str, ...] = ()
    columns_renamed: dict[str, str] = {}
    columns_hashed: tuple[str, ...] = ()

    @classmethod
    def of(cls, destination: Destination) -> Selection:
        """What is configured. Raises ConfigurationError when it cannot be delivered."""
        selection = cls(**{name: getattr(destination, name) for name in cls.__struct_fields__})
        for reason, hint in selection._faults():
            message = f"export.destination {destination.name!r}: {reason}"
            raise ConfigurationError(message, hint=hint)
        return selection

    @property
    def document(self) -> dict[str, Any]:
        """As it is recorded: what it says, and nothing for everything."""
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return document

    def chosen(self, schema_version: int) -> list[Column]:
        """The columns of events_log that files have, in their order."""
        known = {column.name: column for column in columns(schema_version)}
        return [known[name] for name in self.columns or known if name in known and name not in self.columns_except]

    def delivered(self, schema_version: int) -> list[Column]:
        """The same as they stand in the files."""
        return [
            column._replace(name=self.name(column.name), kind=Kind.STRING, meaning=f"{column.meaning}; hashed")
            if column.name in self.columns_hashed
            else column._replace(name=self.name(column.name))
            for column in self.chosen(schema_version)
        ]

    def name(self, column: str) -> str:
        """What a column of events_log is called in the files."""
        return self.columns_renamed.get(column, column)

    def bots(self, schema_version: int) -> str | None:
        """The name of the column that tells bots from people, None when the files have none."""
        return self.name(BOT) if BOT in {column.name for column in self.chosen(schema_version)} else None

    def rows_of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The events of a frame that are wanted."""
        site, event_type = pl.col(SITE), pl.col("event_type")
        if self.sites:
            frame = frame.filter(_is_any(site, self.sites))
        if self.sites_except:
            frame = frame.filter(~_is_any(site, self.sites_except))
        return frame.filter(event_type.is_in(self.event_types)) if self.event_types else frame

    def columns_of(self, frame: pl.DataFrame, schema_version: int, hash_key: bytes) -> pl.DataFrame:
        """A frame with the columns of events_log, as it is delivered."""

        def hashed(text: str) -> str:
            return hmac.digest(hash_key, text.encode(), "sha256")[:HASH_BYTES].hex()

        return frame.select(
            pl.col(column.name).map_elements(hashed, return_dtype=pl.String).alias(self.name(column.name))
            if column.name in self.columns_hashed
            else pl.col(column.name).alias(self.name(column.name))
            for column in self.chosen(schema_version)
        )

    def _faults(self) -> Iterator[tuple[str, str]]:
        """What cannot be delivered, and what to do about it."""
        for setting in ("columns", "columns_except", "columns_renamed", "columns_hashed"):
            for name in getattr(self, setting):
                if name not in _KNOWN:
                    yield f"{setting} names {name!r}, which is no column", "the columns stand in docs/bucket.md"
        if self.columns and self.columns_except:
            yield "columns and columns_except are both set", "keep one of them"
        chosen = [column.name for column in self.chosen(SCHEMA_VERSION)]
        for setting in ("columns_renamed", "columns_hashed"):
            for name in getattr(self, setting):
                if name not in chosen:
                    yield f"{setting} names {name!r}, which is not delivered", "remove it there"
        if SITE not in chosen:
            yield f"{SITE} is left out", "manifests count events by it; columns_renamed may rename it"
        names = [self.name(name) for name in chosen]
        if twice := next((name for name in names if names.count(name) > 1), None):
            yield f"two columns are called {twice!r}", "correct columns and columns_renamed"
        yield from self._unhashable(chosen)

    def _unhashable(self, chosen: list[str]) -> Iterator[tuple[str, str]]:
        for name in self.columns_hashed:
            if name == SITE or _KNOWN[name].kind not in {Kind.STRING, Kind.ADDRESS}:
                hint = (
                    f"only texts can be, and {SITE} cannot, by which manifests count; leave it out with columns_except"
                )
                yield f"{name} cannot be hashed", hint
            if name in SAID and RAW in chosen:
                yield f"{name} is hashed, and stands in {RAW} in clear", f"add {RAW!r} to columns_except"


def _is_any(site: pl.Expr, names: Iterable[str]) -> pl.Expr:
    """Whether a site is one of these, or, as `*.example.org` says, one below it; as in limits.sites."""
    exact = [name for name in names if not name.startswith("*")]
    below = "|".join(re.escape(name[1:]) for name in names if name.startswith("*"))
    return site.is_in(exact) | (site.str.contains(rf"\A[a-z0-9._-]+(?:{below})\z") if below else pl.lit(value=False))
