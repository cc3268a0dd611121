"""Decode: the bytes of a body in, its events as bytes out, or the reason why not. Pure.

Events stay the bytes that were sent, so that what is kept is what was said and nothing is encoded twice. Only what some
reader further on would trip over is written anew: see `ODD` and `rewritten`.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import msgspec

from evothesis.event import Json, encode_json

BODY_BYTES_MAX = 2**20  # inflated
EVENTS_MAX = 1_000
EVENT_BYTES_MAX = 32_768
EVENTS_BYTES_MAX = 4 * 2**20  # with what each has from its batch: a small body must not fill the disk
DEPTH_MAX = 32  # far more than events need, and little enough for every reader's recursion
LARGE_BYTES = 32_768  # of a body in which there is room for far more events than there may be
KNOWN_BYTES_MAX = 1_024  # of a member that is kept of an event that is not
MEMBERS_MAX = 1_024  # of all objects in an event; each may become a column somewhere
_MEMBER_BYTES_MIN = 5  # `"":1,`
_BATCH_LENGTH_MAX = 32  # of "batch" as JSON, with every letter escaped
_GZIP = 16 + zlib.MAX_WBITS  # zlib.decompressobj: with a gzip header
_BOM = b"\xef\xbb\xbf"

# What msgspec passes over in a member that it need not decode, and what COPY or jsonb cannot take: NUL, surrogates,
# exponents that leave the range of a double, numbers of more digits than 64 bits have, line ends between members.
ODD = r"\\u00|\\u[dD][89a-fA-F]|[:,\[] *-?[\d.]+[eE]|\d{20}|[\t\n\r]"

_ABSENT = msgspec.Raw(b"null")
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
    batch_id: msgspec.Raw = _ABSENT  # not looked at
    sent_at: msgspec.Raw = _ABSENT
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
    extra: dict[str, Json]  # what a batch says beside that; see `merged`


class _Known(msgspec.Struct, rename="camel"):
    event_type: msgspec.Raw = msgspec.Raw()
    event_id: msgspec.Raw = msgspec.Raw()
    session_id: msgspec.Raw = msgspec.Raw()
    visitor_id: msgspec.Raw = msgspec.Raw()
    site_id: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()
    path: msgspec.Raw = msgspec.Raw()


class _Head(msgspec.Struct, rename="camel"):
    event_type: msgspec.Raw = _ABSENT


# One place more than there may be; what stands behind is passed over. A list of half a million takes long to make.
_LAST = f"event_{EVENTS_MAX}"
_First = msgspec.defstruct(
    "_First", [(f"event_{number}", msgspec.Raw, msgspec.Raw()) for number in range(EVENTS_MAX + 1)], array_like=True
)
_Counted = msgspec.defstruct("_Counted", [("events", _First | None, None)])


_decode_head = msgspec.json.Decoder(_Head).decode
_KNOWN = [field.encode_name for field in msgspec.structs.fields(_Known)]
_decode_known = msgspec.json.Decoder(_Known).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_events = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_counted = msgspec.json.Decoder(_Counted).decode
_decode_batch = msgspec.json.Decoder(Inherited).decode
_NOTHING = Inherited()
_TOO_DEEP = {"code": "event_too_deep", "message": f"an event may be nested {DEPTH_MAX} levels deep"}


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
        if len(data) > LARGE_BYTES:
            _check_count(data)
        try:
            batch = _decode_batch(data)
        except msgspec.ValidationError:
            return _with_extras(data) if _is_batch(data) else Envelope([data.strip()], _NOTHING, {})
        if batch.event_type != "batch":
            return Envelope([data.strip()], _NOTHING, {})
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise EnvelopeError(400, "envelope_invalid", f"the body must be an event or a batch: {error}") from error
        raise EnvelopeError(400, "json_invalid", f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise EnvelopeError(400, "json_too_deep", "the body is nested too deeply") from error
    return _checked(batch.events, batch)


def merged(member: bytes, extra: dict[str, Json]) -> bytes:
    """An event with what its batch says beside the known members."""
    if len(member) > EVENT_BYTES_MAX or not member.startswith(b"{"):
        return member  # refused, whatever else is said
    try:
        return encode_json(extra | msgspec.json.decode(member))
    except (msgspec.DecodeError, RecursionError):
        return member  # the same


def needs_look(member: bytes) -> bool:
    """Whether an event may be deeper, or have more members, than is allowed."""
    has_room = len(member) > _MEMBER_BYTES_MIN * MEMBERS_MAX
    return member.count(b"{") + member.count(b"[") > DEPTH_MAX or (has_room and member.count(b":") > MEMBERS_MAX)


def rewritten(member: bytes) -> Json:
    """An event as a value that every reader can take. Raises EventError."""
    try:
        value = msgspec.json.decode(member)
    except RecursionError as error:
        raise EventError(**_TOO_DEEP) from error
    except msgspec.DecodeError as error:
        raise EventError(code="event_invalid", message=f"the event cannot be kept: {error}") from error
    _measure(value)
    # PostgreSQL's text and jsonb cannot hold NUL; one such value would refuse a whole load
    return _without_nul(value) if b"\\u0000" in member else value


def known_members(member: bytes) -> Json:
    """Of an event that is too large to be read, those members that have a column and are small. Raises EventError."""
    try:
        known = _decode_known(member)
    except msgspec.DecodeError as error:
        raise EventError(code="event_invalid", message=f"the event cannot be kept: {error}") from error
    values = {name: bytes(value) for name, value in zip(_KNOWN, msgspec.structs.astuple(known), strict=True)}
    small = {name: msgspec.Raw(value) for name, value in values.items() if 0 < len(value) <= KNOWN_BYTES_MAX}
    return rewritten(encode_json(small))


def _check_count(data: bytes) -> None:
    with suppress(msgspec.ValidationError):  # of what is no batch
        counted: Any = _decode_counted(data)  # made at run time
        events = counted.events
        if events is not None and bytes(getattr(events, _LAST)) and _is_batch(data):
            raise _too_many()


def _too_many() -> EnvelopeError:
    return EnvelopeError(413, "batch_too_large", f"a batch may have {EVENTS_MAX} events")


def _is_batch(data: bytes) -> bool:
    said = bytes(_decode_head(data).event_type)
    return len(said) <= _BATCH_LENGTH_MAX and msgspec.json.decode(said) == "batch"


def _with_extras(data: bytes) -> Envelope:
    """A batch with members of its own: they belong to each of its events, and are kept there."""
    document = _decode_members(data)
    extra = {name: bytes(value) for name, value in document.items() if name not in _NAMES}
    batch = _decode_batch(encode_json({name: value for name, value in document.items() if name in _NAMES - {"events"}}))
    try:
        members = _decode_events(document.get("events", _ABSENT))
    except msgspec.ValidationError as error:
        raise EnvelopeError(400, "batch_empty", "a batch must have a list of events") from error
    envelope = _checked(members, batch, extra_bytes=sum(len(name) + len(value) for name, value in extra.items()))
    return envelope._replace(extra={name: msgspec.json.decode(value) for name, value in extra.items()})


_NAMES = {field.encode_name for field in msgspec.structs.fields(Inherited)}


def _checked(members: list[msgspec.Raw], batch: Inherited, *, extra_bytes: int = 0) -> Envelope:
    """`extra_bytes` is the size of what the batch adds to each event."""
    if not members:
        raise EnvelopeError(400, "batch_empty", "a batch must have a list of events")
    if len(members) > EVENTS_MAX:
        raise _too_many()
    texts = (batch.session_id, batch.visitor_id, batch.site_id, batch.url, batch.path)
    each_bytes = extra_bytes + sum(len(text) for text in texts if text)
    if len(members) * each_bytes > EVENTS_BYTES_MAX or extra_bytes > EVENT_BYTES_MAX:
        raise EnvelopeError(413, "batch_too_large", "what a batch says for its events is too much for so many")
    return Envelope([bytes(member) for member in members], batch, {})


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


def _measure(document: Json) -> None:
    """Raises EventError when too many containers stand in one another, or have too many members."""
    depth = members = 0
    level = [document]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        members += sum(len(value) for value in level if isinstance(value, dict))
        level = [part for value in level for part in (value.values() if isinstance(value, dict) else value)]
    if depth > DEPTH_MAX:
        raise EventError(**_TOO_DEEP)
    if members > MEMBERS_MAX:
        raise EventError(code="event_too_many_members", message=f"an event may have {MEMBERS_MAX} members in all")


def _without_nul(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(part) for part in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(part) for key, part in value.items()}
    return value
