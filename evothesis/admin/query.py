"""Query: a request's parameters in, a struct of theirs out, or a word for what is wrong with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

Hour = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2})?$", description="UTC: 2026-11-22 or 2026-11-22T09")
]
Name = Annotated[str, Meta(min_length=1, max_length=200)]

_DIGITS = re.compile(r"[0-9]{1,9}")
_PLACE = re.compile(r"`\$\.(\w+)`")


class Query(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The parameters that a route knows; every other one is refused, so that no filter is silently without effect."""


Parameters = TypeVar("Parameters", bound=Query)


class QueryError(Exception):
    """Parameters are wrong: `code` is the machine's word for it."""

    def __init__(self, code: str, message: str) -> None:
        """Both are told."""
        super().__init__(message)
        self.code = code


def parse(request: web.Request, kind: type[Parameters]) -> Parameters:
    """The parameters as `kind` has them. Raises QueryError."""
    given = request.query
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    for name in given:
        if name not in known:
            code, named = "parameter_unknown", ", ".join(sorted(known)) or "none"
            raise QueryError(code, f"the parameters of {request.path} are: {named}")
        if len(given.getall(name)) > 1 or "\0" in given[name]:
            raise _invalid(name, "it is given twice, or holds NUL")
    try:
        parsed = msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        found = _PLACE.search(str(error))
        raise _invalid(found[1] if found else "parameter", str(error).partition(" - at ")[0]) from error
    for field in msgspec.structs.fields(kind):
        # a lenient reader takes 1e2 for a hundred
        if type(getattr(parsed, field.name)) is int and not _DIGITS.fullmatch(given.get(field.encode_name, "0")):
            raise _invalid(field.encode_name, "write it in digits")
    return parsed


def moment(name: str, text: Hour | None) -> datetime | None:
    """An hour as a time. Raises QueryError for a day that no calendar has."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise _invalid(name, "there is no such hour") from error


def _invalid(name: str, reason: str) -> QueryError:
    return QueryError(f"{name}_invalid", f"{name}: {reason}")
