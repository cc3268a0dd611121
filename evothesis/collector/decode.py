"""Decode: the bytes of a body in, its text and its JSON out, or the reason why not. Pure."""

from __future__ import annotations

import zlib

import msgspec

from evothesis.event import Json

BODY_BYTES_MAX = 2**20  # inflated
DEPTH_MAX = 32  # far more than events need, and little enough for every reader's recursion
_GZIP = 16 + zlib.MAX_WBITS  # zlib.decompressobj: with a gzip header
_BOM = b"\xef\xbb\xbf"


class EnvelopeError(Exception):
    """The request as a whole cannot be understood; nothing of it is stored."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`status` is the HTTP status of the answer, `code` the machine's word for the reason."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def inflate(body: bytes, encoding: str) -> bytes:
    """A body without its Content-Encoding. Raises EnvelopeError."""
    if encoding not in ("", "identity", "gzip"):
        raise EnvelopeError(415, "encoding_unsupported", "Content-Encoding may be gzip or absent")
    data = _gunzip(body) if encoding == "gzip" else body
    if len(data) > BODY_BYTES_MAX:
        raise EnvelopeError(413, "body_too_large", f"a body may have {BODY_BYTES_MAX} bytes")
    if not data:
        raise EnvelopeError(400, "body_empty", "the body is empty")
    return data


def decode(data: bytes) -> Json:
    """The JSON value of a body. Raises EnvelopeError."""
    try:
        document = msgspec.json.decode(data.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnvelopeError(400, "json_invalid", f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise EnvelopeError(400, "json_too_deep", "the body is nested too deeply") from error
    if data.count(b"{") + data.count(b"[") > DEPTH_MAX and _depth(document) > DEPTH_MAX:
        raise EnvelopeError(400, "json_too_deep", f"a body may be nested {DEPTH_MAX} levels deep")
    # PostgreSQL's text and jsonb cannot hold NUL; one such value would refuse a whole load
    return _without_nul(document) if b"\\u0000" in data else document


def _gunzip(body: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        data = inflater.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise EnvelopeError(400, "gzip_invalid", "the body is not valid gzip") from error
    if len(data) > BODY_BYTES_MAX:
        raise EnvelopeError(413, "body_too_large", f"an inflated body may have {BODY_BYTES_MAX} bytes")
    if not inflater.eof or inflater.unused_data:
        raise EnvelopeError(400, "gzip_invalid", "the body is not one whole gzip member")
    return data


def _depth(document: Json) -> int:
    """How many containers stand in one another."""
    depth = 0
    level = [document]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        level = [part for value in level for part in (value.values() if isinstance(value, dict) else value)]
    return depth


def _without_nul(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(part) for part in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(part) for key, part in value.items()}
    return value
