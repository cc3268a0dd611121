"""Backup: a database in, a dump with its listing in a folder out, and the same encrypted in a bucket.

What was loaded after a backup is loaded again from the kept segments of the spool, see `loader/keep`.
"""

from __future__ import annotations

import getpass
import io
import logging
import os
import shutil
import tarfile
import tempfile
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from psycopg.types.json import Jsonb

from evothesis import __version__, pg
from evothesis.config import Config, Destination
from evothesis.disk import sync_folder
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.exporter.decode import sha256_of
from evothesis.exporter.prepare import prepare
from evothesis.exporter.store import Store, store
from evothesis.upkeep import archive, content, programs
from evothesis.upkeep.archive import Backup

log = logging.getLogger(__name__)

LOCK = 0x65766F6261636B  # "evoback": any number that nothing else here locks
AUDIT = "insert into audit_log (actor, action, details) values (%(actor)s, %(action)s, %(details)s)"


class Taken(NamedTuple):
    """A backup that was taken: where it lies, how large it is, and which older ones went for it."""

    name: str
    folder: str
    bytes: int
    destination: str | None
    bytes_sent: int
    removed: list[str]


def destination(config: Config) -> Destination | None:
    """Where backups go beside the folder; None when nowhere. Raises ConfigurationError."""
    name = config.backup.bucket
    if not name:
        return None
    chosen = next((one for one in config.export.destination if one.name == name), None)
    if chosen is None:
        message = f"backup.bucket is {name!r}, and no [[export.destination]] has this name"
        raise ConfigurationError(message, hint=f"known: {', '.join(one.name for one in config.export.destination)}")
    if not config.backup.recipient:
        message = "backup.recipient is not set: what leaves this machine is encrypted"
        raise ConfigurationError(message, hint="run age-keygen elsewhere, keep its file there, and set its public key")
    return chosen


def take(config: Config, path: Path | None, connection: pg.Connection, url: str, now: datetime) -> Taken:
    """Take a backup; `path` is the configuration's file. Raises EvothesisError."""
    target = destination(config)
    key = archive.recipient(config.backup.recipient) if target else None
    if not pg.try_lock(connection, LOCK):
        message = "another backup runs"
        raise EvothesisError(message, hint="wait for it to end")
    name = f"{now:{archive.NAME_FORMAT}}"
    folder = config.backup.path / name
    unfinished = folder.with_suffix(archive.UNFINISHED)
    try:
        for left in config.backup.path.glob(f"*{archive.UNFINISHED}"):  # by a backup that was killed
            shutil.rmtree(left)
        unfinished.mkdir(parents=True, mode=0o700)
        backup = _dump(config, connection, url, unfinished, name)
        owner = config.backup.path.stat()
        for made in (unfinished, *unfinished.iterdir()) if os.geteuid() == 0 else ():
            os.chown(made, owner.st_uid, owner.st_gid)  # else the timer's user could not remove it when it is old
        unfinished.rename(folder)
        sync_folder(config.backup.path)
    except OSError as error:
        message = f"cannot write to {config.backup.path}: {error.strerror}"
        raise EvothesisError(message, hint="make room, or let this user write there") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    sent = _send(config, path, connection, backup, folder, target, key) if target and key else 0
    removed = archive.local(config.backup.path)[: -config.backup.keep]
    for old in removed:
        shutil.rmtree(config.backup.path / old)
    taken = Taken(
        name, str(folder), (folder / archive.DUMP).stat().st_size, target.name if target else None, sent, removed
    )
    record(connection, "backup", taken._asdict())
    log.info("Backup taken.", extra={"backup": name, "bytes": taken.bytes, "destination": taken.destination})
    return taken


def record(connection: pg.Connection, action: str, details: dict[str, object]) -> None:
    """Remember who did what, for `doctor` and for the record."""
    connection.execute(AUDIT, {"actor": getpass.getuser(), "action": action, "details": Jsonb(details)})


def _dump(config: Config, connection: pg.Connection, url: str, folder: Path, name: str) -> Backup:
    """Dump and count in one snapshot, so that the counts are those of the dump."""
    dump = folder / archive.DUMP
    dump.touch(mode=0o600)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        snapshot = pg.one(connection, "select pg_export_snapshot() as id")["id"]
        arguments = ["--format=custom", "--schema=public", "--no-owner", "--no-privileges", "--compress=3"]
        programs.run(connection, url, "pg_dump", *arguments, f"--snapshot={snapshot}", f"--file={dump}")
        backup = Backup(
            name=name,
            instance=config.instance,
            version=__version__,
            schema=content.schema(connection),
            rows=content.rows(connection),
            loads_sha256=content.loads_sha256(connection),
            files={archive.DUMP: sha256_of(dump).hex()},
        )
    listing = folder / archive.LISTING
    listing.write_bytes(backup.text())
    for file in (dump, listing):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    sync_folder(folder)
    return backup


def _send(  # noqa: PLR0913, PLR0917 - what a backup is made of, and where it goes
    config: Config,
    path: Path | None,
    connection: pg.Connection,
    backup: Backup,
    folder: Path,
    target: Destination,
    key: object,
) -> int:
    bucket: Store = store(target)
    prepare(connection, target, bucket, instance=config.instance)
    with tempfile.NamedTemporaryFile(prefix="evothesis-") as packed:  # mode 0600
        packed.write(_configuration(config, path))
        packed.flush()
        files = {archive.DUMP: folder / archive.DUMP, archive.CONFIGURATION: Path(packed.name)}
        return archive.send(bucket, backup, files, key)


def _configuration(config: Config, path: Path | None) -> bytes:
    """What another machine needs to go on as this one: the configuration and the key that signs manifests.

    Keys of buckets and tokens that lie in files of their own are not in it: they are made anew.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in (path, config.export.signing_key_path):
            if file and file.exists():
                tar.add(file, arcname=file.name)
    return packed.getvalue()
