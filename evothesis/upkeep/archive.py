"""Archive: what a backup is made of, and where it lies: in a folder as it is, in a bucket encrypted and in parts.

A backup is a folder named by its moment. `backup.json` comes last and lists every file with its digest: without it
there is no backup. What leaves the machine is encrypted for a key of age (age-encryption.org) whose private half is
kept elsewhere.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pyrage  # type: ignore[import-untyped]  # it has no stubs

from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.exporter.decode import sha256_of
from evothesis.exporter.store import Store, bring

NAME_FORMAT = "%Y%m%dT%H%M%SZ"
LISTING = "backup.json"
DUMP = "database.dump"
CONFIGURATION = "configuration.tar"
ENCRYPTED = ".age"
UNFINISHED = ".unfinished"
PART_BYTES_MAX = 2**30  # S3 takes 5 GiB in one request; a part that fails is sent again as a whole
BLOCK_BYTES = 2**20


class Backup(NamedTuple):
    """What `backup.json` says: its name, what the database held, its files with their digests."""

    name: str
    instance: str
    version: str  # of evothesis
    schema: int
    rows: dict[str, int]  # by table
    loads_sha256: str | None
    files: dict[str, str]  # SHA-256 by name, in the order in which parts are joined

    @classmethod
    def read(cls, text: bytes | str) -> Backup:
        """Raises EvothesisError for what is no listing."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            message = f"{LISTING} cannot be read: {error}"
            raise EvothesisError(
                message, hint="it was made by another version, or is damaged: take another backup"
            ) from error

    def text(self) -> bytes:
        """As it is written."""
        return json.dumps(self._asdict(), indent=2).encode()


def prefix(instance: str) -> str:
    """Where an instance's backups lie in a bucket."""
    return f"backup/{instance}/"


def local(folder: Path) -> list[str]:
    """The names of the complete backups in a folder, the oldest first."""
    return sorted(listing.parent.name for listing in folder.glob(f"*/{LISTING}") if listing.parent.suffix != UNFINISHED)


def remote(store: Store, instance: str) -> list[str]:
    """The same of a bucket. Raises EvothesisError when it may not be listed."""
    keys = store.keys(prefix(instance))
    if keys is None:
        message = "these credentials may not list the bucket"
        raise EvothesisError(message, hint="name the backup, as `evothesis backup` has printed it")
    return sorted(key.split("/")[-2] for key in keys if key.endswith(f"/{LISTING}"))


def recipient(text: str) -> pyrage.x25519.Recipient:
    """The key that backups are encrypted for. Raises ConfigurationError."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        message = f"backup.recipient is no public key of age: {error}"
        raise ConfigurationError(message, hint="age-keygen prints one that begins with age1") from error


def identity(path: Path) -> pyrage.x25519.Identity:
    """The private key in a file as age-keygen writes it. Raises ConfigurationError."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("AGE-SECRET-KEY-")]
        return pyrage.x25519.Identity.from_str(lines[0])
    except (OSError, ValueError, IndexError, pyrage.IdentityError) as error:
        message = f"{path} holds no private key of age: {error}"
        raise ConfigurationError(message, hint="name the file that age-keygen wrote with --identity") from error


def send(store: Store, backup: Backup, files: dict[str, Path], key: pyrage.x25519.Recipient) -> int:
    """Encrypt files and bring them to a bucket, the listing last; returns the number of bytes."""
    sent, size = {}, 0
    place = f"{prefix(backup.instance)}{backup.name}/"
    for name, source in files.items():
        with tempfile.TemporaryDirectory(prefix="evothesis-backup-") as folder:
            parts = _Parts(Path(folder), f"{name}{ENCRYPTED}")
            with source.open("rb") as reader:
                pyrage.encrypt_io(reader, parts, [key])
            for part in parts.close():
                digest = sha256_of(part)
                bring(store, place + part.name, part, digest)
                sent[part.name] = digest.hex()
                size += part.stat().st_size
    with tempfile.NamedTemporaryFile() as listing:
        listing.write(backup._replace(files=sent).text())
        listing.flush()
        bring(store, place + LISTING, Path(listing.name), sha256_of(Path(listing.name)))
    return size


@contextmanager
def fetched(store: Store, instance: str, name: str, key: pyrage.x25519.Identity) -> Iterator[tuple[Backup, Path]]:
    """A backup from a bucket, decrypted into a folder that goes when the block ends. Raises EvothesisError."""
    place = f"{prefix(instance)}{name}/"
    listing = store.read(place + LISTING)
    if listing is None:
        message = f"there is no backup {name} of {instance} in the bucket"
        raise EvothesisError(message, hint="`evothesis restore --list --from-bucket` names those that are there")
    backup = Backup.read(listing)
    with tempfile.TemporaryDirectory(prefix="evothesis-restore-") as folder:
        joined = Path(folder) / f"{DUMP}{ENCRYPTED}"
        with joined.open("wb") as whole:
            for file in (file for file in backup.files if file.startswith(joined.name)):
                _fetch(store, place + file, backup.files[file], whole)
        dump = Path(folder) / DUMP
        try:
            with joined.open("rb") as reader, dump.open("wb") as writer:
                pyrage.decrypt_io(reader, writer, [key])
        except pyrage.DecryptError as error:
            message = f"backup {name} cannot be decrypted: {error}"
            raise EvothesisError(message, hint="name the private key of its recipient with --identity") from error
        joined.unlink()
        yield backup, dump


def opened(folder: Path, name: str) -> tuple[Backup, Path]:
    """A backup of a folder, its dump looked at. Raises EvothesisError."""
    try:
        backup = Backup.read((folder / name / LISTING).read_bytes())
        dump = folder / name / DUMP
        digest = sha256_of(dump).hex()
    except OSError as error:
        message = f"there is no backup {name} in {folder}: {error.strerror}"
        raise EvothesisError(message, hint="`evothesis restore --list` names those that are there") from error
    if digest != backup.files[DUMP]:
        message = f"{dump} is not what was backed up"
        raise EvothesisError(message, hint="take another backup")
    return backup, dump


def _fetch(store: Store, key: str, sha256: str, whole: IO[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as part:
        digest = store.fetch(key, Path(part.name))
        if digest is None or digest.hex() != sha256:
            message = f"{key} {'is missing' if digest is None else 'is not what was backed up'}"
            raise EvothesisError(message, hint="take another backup")
        with Path(part.name).open("rb") as reader:
            shutil.copyfileobj(reader, whole, BLOCK_BYTES)


class _Parts:
    """A file to be written to that becomes several, each with a number behind its name."""

    def __init__(self, folder: Path, name: str, bytes_max: int = PART_BYTES_MAX) -> None:
        """None is begun yet."""
        self._folder = folder
        self._name = name
        self._bytes_max = bytes_max
        self._paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._room = 0

    def write(self, data: bytes) -> int:
        """Write all of it, into as many parts as it takes."""
        view = memoryview(data)
        while view:
            file = self._file if self._file and self._room else self._begin()
            taken = file.write(view[: self._room])
            self._room -= taken
            view = view[taken:]
        return len(data)

    def flush(self) -> None:
        """Nothing is promised before `close`."""

    def close(self) -> list[Path]:
        """The parts."""
        if self._file:
            self._file.close()
        return self._paths

    def _begin(self) -> IO[bytes]:
        if self._file:
            self._file.close()
        self._paths.append(self._folder / f"{self._name}.{len(self._paths):03d}")
        self._file = self._paths[-1].open("wb")
        self._room = self._bytes_max
        return self._file
