"""S3: a bucket, or one of an S3-compatible store; see `store`. The only file that knows boto3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from evothesis.config import Destination
from evothesis.errors import DeliveryError, UnreachableError
from evothesis.exporter.credentials import session
from evothesis.exporter.decode import sha256_of
from evothesis.exporter.multipart import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_BYTES = 2**20
PART_BYTES = 2**28  # an object in one piece may have 5 GB; one in parts is read back as a whole, so few are
EVENTS = "events/"
TIMEOUT_SECONDS = 60
ATTEMPTS = 5  # boto3's own, with pauses; what fails then is tried again by the next run
Answer = TypeVar("Answer")

_TRANSIENT_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})


class Bucket:
    """An S3 bucket, or one of an S3-compatible store."""

    is_conditional = True

    def __init__(self, destination: Destination, *, part_bytes: int = PART_BYTES) -> None:
        """Connect lazily. A file that is larger than `part_bytes` is put in parts of that size."""
        from botocore.config import Config

        parts = urlsplit(destination.url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        self._part_bytes = part_bytes
        self._encryption = _encryption(destination)
        self._storage_class = {"StorageClass": destination.storage_class} if destination.storage_class else {}
        self._client: S3Client = session(destination).client(
            "s3",
            endpoint_url=destination.endpoint or None,
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
        if self.is_conditional:
            return self._create(key, source, sha256)
        if self.digest(key, may_be_hidden=True) is not None:
            return False
        return self._put(key, source, sha256)

    def probe(self, key: str, source: Path, sha256: bytes) -> bool:
        """See Store. One that does not know the condition overwrites (rclone), or answers 501 (Backblaze B2)."""
        try:
            self._create(key, source, sha256)
            return not self._create(key, source, sha256)
        except _NotImplementedError:
            self._put(key, source, sha256)
            return False

    def digest(self, key: str, *, may_be_hidden: bool = False) -> bytes | None:
        """See Store. The store's own checksum where it keeps one, else that of the object read back."""
        head = self._ask(key, partial(self._client.head_object, ChecksumMode="ENABLED"), may_be_hidden=may_be_hidden)
        if head is None:
            return None
        checksum = head.get("ChecksumSHA256")
        if checksum and "-" not in head["ETag"]:  # of an object in parts ("…-3") it is made of theirs
            return base64.b64decode(checksum)
        digest = hashlib.sha256()
        return digest.digest() if self._download(key, digest.update) else None

    def read(self, key: str) -> bytes | None:
        """See Store."""
        body = bytearray()
        return bytes(body) if self._download(key, body.extend, may_be_hidden=True) else None

    def fetch(self, key: str, target: Path) -> bytes | None:
        """See Store."""
        with target.open("wb") as file:
            is_there = self._download(key, file.write, may_be_hidden=True)
        return sha256_of(target) if is_there else None

    def replace(self, key: str, body: bytes) -> None:
        """See Store."""
        put: Callable[..., object] = partial(self._client.put_object, Body=body)
        self._ask(key, partial(put, **self._encryption))

    def keys(self, under: str) -> list[str] | None:
        """See Store."""

        def names(**bucket: str) -> list[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket["Bucket"], Prefix=bucket["Key"]
            )
            return [found["Key"].removeprefix(self._prefix) for page in pages for found in page.get("Contents", [])]

        return self._ask(under, names, may_be_hidden=True)

    def _create(self, key: str, source: Path, sha256: bytes) -> bool:
        return self._put(key, source, sha256, IfNoneMatch="*")

    def _put(self, key: str, source: Path, sha256: bytes, **condition: str) -> bool:
        # manifests are small and often read: classes that bill for either are not for them
        options = self._encryption | (self._storage_class if key.startswith(EVENTS) else {})
        if source.stat().st_size > self._part_bytes:
            upload = Upload(self._client, partial(self._ask, key), options)
            return upload.put(source, self._part_bytes, **condition)
        checksum = base64.b64encode(sha256).decode()
        with source.open("rb") as body:
            put: Callable[..., object] = partial(self._client.put_object, Body=body, ChecksumSHA256=checksum)
            return self._ask(key, partial(put, **options, **condition)) is not None

    def _download(self, key: str, write: Callable[[bytes], object], *, may_be_hidden: bool = False) -> bool:
        """Read an object to its end; False when there is none."""

        def all_of(**place: str) -> bool:
            for block in self._client.get_object(**place)["Body"].iter_chunks(BLOCK_BYTES):  # type: ignore[arg-type]  # its two names
                write(block)
            return True

        return self._ask(key, all_of, may_be_hidden=may_be_hidden) is not None

    def _ask(self, key: str, call: Callable[..., Answer], *, may_be_hidden: bool = False) -> Answer | None:
        """Call S3; None for "there is none" (404) and "there is one already" (412).

        Credentials that may not list are told 403 of a missing object: `may_be_hidden` takes that for 404 too.
        """
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            return call(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", "")
            message = f"cannot reach {where}: {code or error}"
            if status in _TRANSIENT_STATUSES:
                raise UnreachableError(message, hint="run the command again") from error
            if error.operation_name == "AssumeRole":  # whatever is said of the role says nothing of the object
                message = f"cannot take the role for {where}: {code or error}"
                raise DeliveryError(message, hint=_ROLE_HINT) from error
            if status == HTTPStatus.PRECONDITION_FAILED or (status == HTTPStatus.NOT_FOUND and code != "NoSuchBucket"):
                return None
            if may_be_hidden and code in _HIDDEN:
                return None
            kind = _NotImplementedError if status == HTTPStatus.NOT_IMPLEMENTED else DeliveryError
            raise kind(message, hint=_HINTS.get(code, "check the url and the keys")) from error
        except NoCredentialsError as error:
            message = f"cannot reach {where}: there are no credentials"
            raise DeliveryError(message, hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except BotoCoreError as error:
            message = f"cannot reach {where}: {error}"
            raise UnreachableError(message, hint="check endpoint and network, and run the command again") from error


def _encryption(destination: Destination) -> dict[str, str]:
    if destination.encryption == "default":
        return {}
    if destination.encryption == "sse-s3":
        return {"ServerSideEncryption": "AES256"}
    return {"ServerSideEncryption": "aws:kms"} | (
        {"SSEKMSKeyId": destination.kms_key_id} if destination.kms_key_id else {}
    )


class _NotImplementedError(DeliveryError):
    """The store does not know what it was asked for."""


_HIDDEN = frozenset({"AccessDenied", "403"})  # a HEAD has no body that could name the reason
_ROLE_HINT = "correct role_arn and external_id; do these credentials have sts:AssumeRole, and does the role trust them?"
_HINTS = {
    "NoSuchBucket": "create the bucket, or correct export.destination.url",
    "AccessDenied": "allow s3:PutObject and s3:GetObject on the prefix to these credentials",
    "InvalidAccessKeyId": "correct export.destination.access_key_id",
    "SignatureDoesNotMatch": "correct export.destination.secret_access_key",
    "PermanentRedirect": "correct export.destination.region",
}
