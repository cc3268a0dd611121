"""Multipart: a large file in, an object that was put in parts out, created as a whole or not at all.

Nothing of it is in memory: a part is read from the file while it is sent. Parts whose object does not come are paid for
and never seen, so an upload that fails is aborted, and what a killed export left is aborted by the next one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evothesis.errors import DeliveryError, UnreachableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_BYTES = 2**20
Ask = Callable[..., Any]  # calls S3 for one key; None for what is not there, and for what exists already


class Upload:
    """One object that is to be created."""

    def __init__(self, client: S3Client, ask: Ask, options: dict[str, str]) -> None:
        """`options` say how the object is kept."""
        self._client = client
        self._ask = ask
        self._options = options

    def put(self, source: Path, part_bytes: int, **condition: str) -> bool:
        """Whether the object was created; False when the condition says that it exists."""
        self._abort_stale()
        begin: Callable[..., Any] = partial(self._client.create_multipart_upload, ChecksumAlgorithm="SHA256")
        upload_id = self._ask(partial(begin, **self._options))["UploadId"]
        is_created = False
        try:
            starts = range(0, source.stat().st_size, part_bytes)
            parts = [self._part(upload_id, source, start, part_bytes, no) for no, start in enumerate(starts, start=1)]
            complete: Callable[..., Any] = partial(self._client.complete_multipart_upload, UploadId=upload_id)
            is_created = self._ask(partial(complete, MultipartUpload={"Parts": parts}, **condition)) is not None
        finally:
            if not is_created:
                self._abort(upload_id)
        return is_created

    def _part(self, upload_id: str, source: Path, start: int, part_bytes: int, number: int) -> dict[str, Any]:
        from s3transfer.utils import ReadFileChunk

        with ReadFileChunk.from_filename(str(source), start, part_bytes) as body:
            digest = hashlib.sha256()
            while block := body.read(BLOCK_BYTES):
                digest.update(block)
            body.seek(0)
            checksum = base64.b64encode(digest.digest()).decode()
            put: Callable[..., Any] = partial(self._client.upload_part, UploadId=upload_id, PartNumber=number)
            answer = self._ask(partial(put, Body=body, ChecksumSHA256=checksum))
        if answer is None:
            message = f"{source.name}: somebody aborted the upload"
            raise UnreachableError(message, hint="run the command again")
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _abort_stale(self) -> None:
        """One export at a time: what was begun for this object is nobody's. Needs rights that not everybody has."""

        def begun(**place: str) -> list[str]:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=place["Bucket"], Prefix=place["Key"]
            )
            uploads = [upload for page in pages for upload in page.get("Uploads", [])]
            return [upload["UploadId"] for upload in uploads if upload["Key"] == place["Key"]]

        with suppress(DeliveryError):
            for upload_id in self._ask(begun) or ():
                self._abort(upload_id)

    def _abort(self, upload_id: str) -> None:
        with suppress(DeliveryError, UnreachableError):  # its parts stay; the bucket's lifecycle may end them
            self._ask(partial(self._client.abort_multipart_upload, UploadId=upload_id))
