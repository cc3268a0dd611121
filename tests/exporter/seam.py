"""Seam: loads and their events put into the database as the loader leaves them, and what is found in a bucket.

A test of the exporter fills the seam before it and looks at the seam after it: no collector and no loader run.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Protocol

import duckdb
import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from tests.appliance import Appliance

HOUR = datetime(2026, 11, 22, 9, tzinfo=UTC)
COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "event_type": pl.String,
    "session_id": pl.String,
    "visitor_id": pl.String,
    "site_id": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "url": pl.String,
    "path": pl.String,
    "user_agent": pl.String,
    "ip_address": pl.String,
    "raw_event_data": pl.String,
    "created_at": pl.Datetime("us", "UTC"),
    "event_id_reused": pl.Boolean,
    "writer": pl.Int64,
    "segment_no": pl.Int64,
    "idx": pl.Int32,
    "is_bot": pl.Boolean,
    "bot_reason": pl.String,
    "browser": pl.String,
    "browser_version": pl.String,
    "os": pl.String,
    "device_type": pl.String,
    "country": pl.String,
    "referrer_type": pl.String,
    "referrer_source": pl.String,
    "utm_source": pl.String,
    "utm_medium": pl.String,
    "utm_campaign": pl.String,
    "utm_term": pl.String,
    "utm_content": pl.String,
    "utm_id": pl.String,
    "click_id_type": pl.String,
}
ENRICHED = list(COLUMNS)[list(COLUMNS).index("bot_reason") :]
Row = dict[str, Any]
ABOUT = {"latest.json", "README.md", "schema.json"}  # what lies in a bucket beside data and manifests
READ_CSV = """
select * from read_csv(?, header = true, all_varchar = true, nullstr = '', allow_quoted_nulls = false, delim = ',',
                       quote = '"', escape = '"', strict_mode = true, auto_detect = false, max_line_size = 10000000,
                       columns = {names})
""".replace("{names}", "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS) + "}")


class Objects(Protocol):
    """A bucket, as its owner sees it."""

    def objects(self) -> dict[str, bytes]:
        """Every object by its key."""


class Folder:
    """A local folder as a bucket."""

    def __init__(self, path: Path) -> None:
        """It need not exist yet."""
        self._path = path

    def objects(self) -> dict[str, bytes]:
        """Every file by its path, hidden ones too."""
        return {str(p.relative_to(self._path)): p.read_bytes() for p in self._path.rglob("*") if p.is_file()}


def events(count: int, *, site: str = "shop.example", seed: int = 0) -> list[Row]:
    """Different events, the same ones for the same seed."""
    chance = random.Random(f"{seed} {site}")
    return [
        {
            "event_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "event_type": chance.choice(["pageview", "click"]),
            "session_id": f"s{number}",
            "visitor_id": chance.choice([None, "", f"v{number}"]),
            "site_id": site,
            "timestamp": HOUR + timedelta(microseconds=chance.randrange(10**9)),
            "url": f"https://{site}/{number}?a=b",
            "path": f"/{number}",
            "user_agent": "Mozilla/5.0",
            "ip_address": "192.0.2.0",
            "raw_event_data": {"eventType": "click", "n": number},
            "event_id_reused": False,
            "is_bot": chance.random() < 0.5,
            **{name: chance.choice([None, name]) for name in ENRICHED},
        }
        for number in range(count)
    ]


class Database:
    """The seam before the exporter."""

    def __init__(self, dsn: str) -> None:
        """`dsn` leads to a migrated database."""
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.expected: list[Row] = []

    def load(
        self, rows: Sequence[Row], *, writer: int = 1, segment_no: int, hour: datetime = HOUR, second: int = 0
    ) -> None:
        """One load of an hour with these events, received at that second; it must follow the writer's last one."""
        at = hour + timedelta(seconds=second)
        received = [at + timedelta(microseconds=idx) for idx in range(max(len(rows), 1))]
        identified = [
            {**row, "created_at": moment, "writer": writer, "segment_no": segment_no, "idx": idx}
            for idx, (row, moment) in enumerate(zip(rows, received, strict=False))
        ]
        sha256 = hashlib.sha256(repr(rows).encode()).digest()
        with self.connection.transaction():
            self.connection.execute("select ensure_partitions(%s)", [hour.date()])
            self.connection.execute(
                "insert into writers (writer, next_segment_no) values (%(writer)s, %(next)s)"
                " on conflict (writer) do update set next_segment_no = excluded.next_segment_no",
                {"writer": writer, "next": segment_no + 1},
            )
            self.connection.execute(
                "insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,"
                " accepted, duplicate, rejected, withheld, damaged, bytes)"
                " values (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, 0, 0)",
                [writer, segment_no, sha256, hour, received[0], received[-1], len(rows)],
            )
            copy = f"copy events_log ({', '.join(COLUMNS)}) from stdin"
            with self.connection.cursor() as cursor, cursor.copy(copy) as stream:
                for row in identified:
                    stream.write_row([_adapted(row[name]) for name in COLUMNS])
        self.expected += identified

    def forget(self) -> None:
        """Lose everything, as a machine does that is set back to a snapshot."""
        self.connection.execute("truncate exports, manifests, loads, writers, removed, events_log cascade")
        self.expected.clear()


def _adapted(value: object) -> object:
    return Jsonb(value) if isinstance(value, dict) else value


def manifests(objects: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The manifests of a bucket in their order."""
    return [json.loads(objects[key]) for key in sorted(objects) if key.startswith("manifests/")]


def listed(objects: Mapping[str, bytes]) -> list[str]:
    """The keys of all files that the manifests list."""
    return [file["key"] for manifest in manifests(objects) for file in manifest["files"]]


def delivered(objects: Mapping[str, bytes], form: str = "parquet") -> list[Row]:
    """Every event of every listed file of a format, by its identity, as JSON where it was JSON."""
    reader = {"parquet": _parquet, "ndjson": _ndjson, "csv": _csv}[form]
    files = [file for manifest in manifests(objects) for file in manifest["files"] if file["format"] == form]
    return sorted((row for file in files for row in reader(objects[file["key"]], file)), key=_identity)


def _parquet(data: bytes, _file: Row) -> Iterable[Row]:
    for row in pl.read_parquet(data).iter_rows(named=True):
        yield row | {"raw_event_data": json.loads(row["raw_event_data"])}


def _ndjson(data: bytes, _file: Row) -> Iterable[Row]:
    for line in gzip.decompress(data).removesuffix(b"\n").split(b"\n"):
        row = json.loads(line)
        yield row | {name: datetime.fromisoformat(row[name]) for name in ("timestamp", "created_at")}


def _csv(data: bytes, file: Row) -> Iterable[Row]:
    """By another program than the one that wrote it, which tells nothing from an empty text; undone as it is said."""
    with NamedTemporaryFile(suffix=".csv.gz") as target, duckdb.connect() as connection:
        target.write(data)
        target.flush()
        found = connection.execute(READ_CSV, [target.name])
        names = [column[0] for column in found.description or ()]
        texts = found.fetchall()
    mark = file["neutralised"]["mark"]
    for line in texts:
        row: Row = {name: text and text.removeprefix(mark) for name, text in zip(names, line, strict=True)}
        yield {
            **row,
            "raw_event_data": json.loads(row["raw_event_data"]),
            **{name: datetime.fromisoformat(row[name]) for name in ("timestamp", "created_at")},
            **{name: int(row[name]) for name in ("writer", "segment_no", "idx")},
            **{name: {"true": True, "false": False}[row[name]] for name in ("event_id_reused", "is_bot")},
        }


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows by their identity, with their members in the order of the columns."""
    return [{name: row[name] for name in COLUMNS} for row in sorted(rows, key=_identity)]


def _identity(row: Row) -> tuple[int, int, int]:
    return row["writer"], row["segment_no"], row["idx"]


def exported(appliance: Appliance) -> tuple[int, str]:
    """The exit code of `evothesis export`, and what it says on stderr that is no log."""
    done = appliance.cli("export", "--format", "json")
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Error: ", "Try: ", "Traceback"))]
    return done.returncode, "\n".join(lines)
