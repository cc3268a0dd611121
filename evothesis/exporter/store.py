"""Store: the four things that are asked of a bucket or a folder. The only file that knows boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from evothesis.config import Destination
from evothesis.disk import sync_folder
from evothesis.errors import DeliveryError, UnreachableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UNFINISHED = ".unfinished"
TIMEOUT_SECONDS = 60
ATTEMPTS = 5  # boto3's own, with pauses; what fails then is tried again by the next run
Answer = TypeVar("Answer")

_TRANSIENT_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})


class Store(Protocol):
    """Keys are relative to the destination's prefix."""

    def create(self, key: str, source: Path, sha256: bytes) -> bool:
        """Create an object; False when the key exists. Raises DeliveryError and UnreachableError."""

    def digest(self, key: str) -> bytes | None:
        """The SHA-256 of an object as it is stored, None when there is none."""

    def read(self, key: str) -> bytes | None:
        """A small object's bytes, None when there is none."""

    def replace(self, key: str, body: bytes) -> None:
        """Create or overwrite a small object."""


def store(destination: Destination) -> Store:
    """The store of a destination."""
    if destination.url.startswith("file:"):
        return Folder(Path(destination.url.removeprefix("file://").removeprefix("file:")))
    return Bucket(destination)


class Folder:
    """A local folder. An object appears under its name only when it is complete and on disk."""

    def __init__(self, path: Path) -> None:
        """The folder is made when the first object is."""
        self._path = path

    def create(self, key: str, source: Path, sha256: bytes) -> bool:  # noqa: ARG002 - a bucket needs it
        """See Store."""
        with self._reported(key), self._unfinished(key) as (unfinished, final):
            with source.open("rb") as reader, unfinished.open("wb") as writer:
                while block := reader.read(2**20):
                    writer.write(block)
                writer.flush()
                os.fsync(writer.fileno())
            try:
                os.link(unfinished, final)  # unlike a rename it refuses to replace
            except FileExistsError:
                return False
        return True

    def digest(self, key: str) -> bytes | None:
        """See Store."""
        with self._reported(key):
            try:
                with (self._path / key).open("rb") as file:
                    return hashlib.file_digest(file, "sha256").digest()
            except FileNotFoundError:
                return None

    def read(self, key: str) -> bytes | None:
        """See Store."""
        with self._reported(key):
            try:
                return (self._path / key).read_bytes()
            except FileNotFoundError:
                return None

    def replace(self, key: str, body: bytes) -> None:
        """See Store."""
        with self._reported(key), self._unfinished(key) as (unfinished, final):
            unfinished.write_bytes(body)
            unfinished.replace(final)

    @contextmanager
    def _unfinished(self, key: str) -> Iterator[tuple[Path, Path]]:
        """A place to write to, beside the data, and the final one; a killed export leaves nothing among the data."""
        final = self._path / key
        aside = self._path / UNFINISHED
        shutil.rmtree(aside, ignore_errors=True)  # one export at a time: what lies there is nobody's
        aside.mkdir(parents=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside / final.name, final
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync_folder(final.parent)

    @contextmanager
    def _reported(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"cannot reach {self._path / key}: {error.strerror}"
            raise DeliveryError(message, hint="is the folder writable, and is there room?") from error


class Bucket:
    """An S3 bucket, or one of an S3-compatible store."""

    def __init__(self, destination: Destination) -> None:
        """Connect lazily; credentials are the configured ones, else those of the usual AWS chain."""
        import boto3
        from botocore.config import Config

        parts = urlsplit(destination.url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=destination.endpoint or None,
            region_name=destination.region,
            aws_access_key_id=destination.access_key_id or None,
            aws_secret_access_key=destination.secret_access_key or None,
            config=Config(
                connect_timeout=10,
                read_timeout=TIMEOUT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                # one checksum, the one that the manifest names; others are unknown to some compatible stores
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"} if destination.endpoint else {},
            ),
        )

    def create(self, key: str, source: Path, sha256: bytes) -> bool:
        """See Store."""
        checksum = base64.b64encode(sha256).decode()
        with source.open("rb") as body:
            put = partial(self._client.put_object, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum)
            return self._ask(key, put) is not None

    def digest(self, key: str) -> bytes | None:
        """See Store. The store's own checksum where it keeps one, else that of the object read back."""
        head = self._ask(key, partial(self._client.head_object, ChecksumMode="ENABLED"))
        if head is None:
            return None
        if checksum := head.get("ChecksumSHA256"):
            return base64.b64decode(checksum)
        found = self._ask(key, self._client.get_object)
        if found is None:
            return None
        digest = hashlib.sha256()
        for block in found["Body"].iter_chunks(2**20):
            digest.update(block)
        return digest.digest()

    def read(self, key: str) -> bytes | None:
        """See Store."""
        found = self._ask(key, self._client.get_object, may_be_hidden=True)
        return found["Body"].read() if found else None

    def replace(self, key: str, body: bytes) -> None:
        """See Store."""
        self._ask(key, partial(self._client.put_object, Body=body))

    def _ask(self, key: str, call: Callable[..., Answer], *, may_be_hidden: bool = False) -> Answer | None:
        """Call S3; None for "there is none" (404) and "there is one already" (412).

        Credentials that may not list are told 403 of a missing object: `may_be_hidden` takes that for 404 too.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            return call(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", "")
            if status == HTTPStatus.PRECONDITION_FAILED or (status == HTTPStatus.NOT_FOUND and code != "NoSuchBucket"):
                return None
            if may_be_hidden and code == "AccessDenied":
                return None
            message = f"cannot reach {where}: {code or error}"
            if status in _TRANSIENT_STATUSES:
                raise UnreachableError(message, hint="run the export again") from error
            raise DeliveryError(message, hint=_HINTS.get(code, "check the destination's url and keys")) from error
        except BotoCoreError as error:
            message = f"cannot reach {where}: {error}"
            raise UnreachableError(message, hint="check endpoint and network, and run the export again") from error


_HINTS = {
    "NoSuchBucket": "create the bucket, or correct export.destination.url",
    "AccessDenied": "allow s3:PutObject and s3:GetObject on the prefix to these credentials",
    "InvalidAccessKeyId": "correct export.destination.access_key_id",
    "SignatureDoesNotMatch": "correct export.destination.secret_access_key",
    "PermanentRedirect": "correct export.destination.region",
}
