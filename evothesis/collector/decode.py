"""Decode: the bytes of a body in, its events as bytes out, or the reason why not. Pure.

Events stay the bytes that were sent, so that what is kept is what was said and nothing is encoded twice. Only what some
reader further on would trip over is written anew: see `ODD` and `rewritten`.
"""

from __future__ import annotations

import zlib
from typing import Annotated, NamedTuple

import msgspec

from evothesis.event import Json, encode_json

BODY_BYTES_MAX = 2**20  # inflated
EVENTS_MAX = 1_000
DEPTH_MAX = 32  # far more than events need, and little enough for every reader's recursion
_GZIP = 16 + zlib.MAX_WBITS  # zlib.decompressobj: with a gzip header
_BOM = b"\xef\xbb\xbf"

# What msgspec passes over in a member that it need not decode, and what COPY or jsonb cannot take: NUL, surrogates,
# exponents that leave the range of a double, numbers of more digits than 64 bits have, line ends between members.
ODD = r"\\u00|\\u[dD][89a-fA-F]|[:,\[] *-?[\d.]+[eE]|\d{20}|[\t\n\r]"

Text = Annotated[str, msgspec.Meta(max_length=100)]
Address = Annotated[str, msgspec.Meta(max_length=8_192)]


class EnvelopeError(Exception):
    """The request as a whole cannot be understood; nothing of it is stored."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`status` is the HTTP status of the answer, `code` the machine's word for the reason."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class EventError(Exception):
    """One event of a request is refused."""

    def __init__(self, *, code: str, message: str) -> None:
        """`code` is the machine's word for the reason."""
        super().__init__(message)
        self.code = code
        self.message = message


class Inherited(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a batch says for all its events, beside the members of the batch itself."""

    event_type: str = ""
    batch_id: Json = None
    sent_at: Json = None
    session_id: Text | None = None
    visitor_id: Text | None = None
    site_id: Text | None = None
    url: Address | None = None
    path: Address | None = None
    timestamp: str | int | None = None
    events: list[msgspec.Raw] = []


class Envelope(NamedTuple):
    """A request's events, each as JSON, and what they need not say themselves."""

    members: list[bytes]
    inherited: Inherited


class _Head(msgspec.Struct, rename="camel"):
    event_type: Json = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_batch = msgspec.json.Decoder(Inherited).decode
_NOTHING = Inherited()


def inflate(body: bytes, encoding: str) -> bytes:
    """A body without its Content-Encoding. Raises EnvelopeError."""
    if encoding not in ("", "identity", "gzip"):
        raise EnvelopeError(415, "encoding_unsupported", "Content-Encoding may be gzip or absent")
    data = _gunzip(body) if encoding == "gzip" else body
    if len(data) > BODY_BYTES_MAX:
        raise EnvelopeError(413, "body_too_large", f"a body may have {BODY_BYTES_MAX} bytes")
    if not data:
        raise EnvelopeError(400, "body_empty", "the body is empty")
    return data.removeprefix(_BOM)


def decode(data: bytes) -> Envelope:
    """The events of a body: one, or those of a batch. Raises EnvelopeError."""
    try:
        data.decode()  # msgspec does not look into texts that it passes over
        try:
            batch = _decode_batch(data)
        except msgspec.ValidationError:
            if _decode_head(data).event_type == "batch":
                return _with_extras(data)
            return Envelope([data], _NOTHING)
        if batch.event_type != "batch":
            return Envelope([data], _NOTHING)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise EnvelopeError(400, "envelope_invalid", f"the body must be an event or a batch: {error}") from error
        raise EnvelopeError(400, "json_invalid", f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise EnvelopeError(400, "json_too_deep", "the body is nested too deeply") from error
    return _checked(Envelope([bytes(member) for member in batch.events], batch))


def rewritten(member: bytes) -> Json:
    """An event as a value that every reader can take. Raises EventError."""
    try:
        value = msgspec.json.decode(member)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EventError(code="event_invalid", message=f"the event cannot be kept: {error}") from error
    if _depth(value) > DEPTH_MAX:
        raise EventError(code="event_too_deep", message=f"an event may be nested {DEPTH_MAX} levels deep")
    # PostgreSQL's text and jsonb cannot hold NUL; one such value would refuse a whole load
    return _without_nul(value) if b"\\u0000" in member else value


def _with_extras(data: bytes) -> Envelope:
    """A batch with members of its own: they belong to each of its events, and are kept there."""
    document = msgspec.json.decode(data)
    extra = {name: value for name, value in document.items() if name not in _NAMES}
    batch = msgspec.convert({name: value for name, value in document.items() if name in _NAMES - {"events"}}, Inherited)
    members = document.get("events")
    if not isinstance(members, list):
        raise EnvelopeError(400, "batch_empty", "a batch must have a list of events")
    merged = [{**extra, **member} if isinstance(member, dict) else member for member in members]
    return _checked(Envelope([encode_json(member) for member in merged], batch))


_NAMES = {field.encode_name for field in msgspec.structs.fields(Inherited)}


def _checked(envelope: Envelope) -> Envelope:
    if not envelope.members:
        raise EnvelopeError(400, "batch_empty", "a batch must have a list of events")
    if len(envelope.members) > EVENTS_MAX:
        raise EnvelopeError(413, "batch_too_large", f"a batch may have {EVENTS_MAX} events")
    return envelope


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
