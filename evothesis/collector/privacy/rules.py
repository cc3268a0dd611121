"""Rules: a JSON value in, the same without personal data and secrets out.

Nothing is cleaned that the pattern of `needs_care` does not see, neither in a text nor in the JSON that holds it. What
comes out has the shape of what went in, and is final: to clean it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from evothesis.collector.decode import ODD
from evothesis.collector.privacy import accounts, addresses, cards, emails, numbers, secrets
from evothesis.collector.privacy.names import Names, is_identifier
from evothesis.collector.privacy.signs import HIDDEN, REDACTED, compiled
from evothesis.collector.steps import Steps, completed
from evothesis.config import Privacy
from evothesis.event import Json

CACHED_MAX = 4_096  # agents, addresses of pages and names of members come back with every request of a visit
CACHED_LENGTH_MAX = 512  # what strangers make longer must not fill the memory
_ROUNDS_MAX = 3  # what is not clean then was made to be so
_DECODED_MAX = 3  # how often a text may be percent-encoded
_CARD_LEAST, _CARD_MOST = 10**12, 10**19
# a part of a page's address with something encoded in it
_ENCODED = compiled(r"""[^\s"<>/?&#;=%]*%[0-9A-Fa-f]{2}[^\s"<>/?&#;=]*""")


class Rules:
    """What [privacy] says, ready for use."""

    def __init__(self, settings: Privacy) -> None:
        """Compile the patterns."""
        self._ip = settings.ip
        self._names = Names(settings.fields_redacted, settings.fields_kept)
        # an operator who keeps addresses wants to keep them everywhere
        of_addresses = () if settings.ip == "full" else (addresses.SIGHT,)
        sight = "|".join(
            (emails.SIGHT, HIDDEN, self._names.sight, secrets.SIGHT, accounts.SIGHT, numbers.SIGHT, *of_addresses)
        )
        self._sees = compiled(sight).search
        self._looks_odd = compiled(f"{ODD}|{sight}").search
        self._remembered = lru_cache(CACHED_MAX)(self._short)

    def needs_care(self, data: bytes) -> bool:
        """One look at JSON text: whether it must be written anew, for privacy's sake or for a reader's."""
        return self._looks_odd(data) is not None

    def cleaned(self, value: Json) -> Json:
        """A JSON value, with `[redacted]` in the place of what must not be kept."""
        return completed(self.cleaning(value))

    def cleaning(self, value: Json) -> Steps[Json]:
        """`cleaned` in steps."""
        return (yield from self._cleaning_list([value], ""))[0]

    def cleaned_text(self, text: str | None) -> str | None:
        """A single text, such as a user agent."""
        return completed(self.cleaning_text(text))

    def cleaning_text(self, text: str | None) -> Steps[str | None]:
        """`cleaned_text` in steps."""
        if not text or len(text) <= CACHED_LENGTH_MAX:
            return self._remembered(text, is_identifier=False) if text else text
        return (yield from self._finally(text, is_identifier=False))

    def _cleaning_list(self, parts: Iterable[Json], name: str) -> Steps[list[Any]]:
        """The values in a list that is a value of `name`."""
        cleaned: list[Json] = []
        identifies = is_identifier(name)
        for part in parts:
            if isinstance(part, str) and len(part) <= CACHED_LENGTH_MAX:
                cleaned.append(self._remembered(part, is_identifier=identifies))
                yield
            elif isinstance(part, str):
                cleaned.append((yield from self._finally(part, is_identifier=identifies)))
            elif isinstance(part, dict):
                cleaned.append((yield from self._cleaning_members(part)))
            elif isinstance(part, list):
                cleaned.append((yield from self._cleaning_list(part, name)))
            else:
                cleaned.append(REDACTED if _is_card(part) else part)
        return cleaned

    def _cleaning_members(self, members: dict[str, Json]) -> Steps[dict[str, Json]]:
        cleaned: dict[str, Json] = {}
        if sum(map(len, members)) > CACHED_LENGTH_MAX:
            names = yield from self._cleaning_list(members, "")
        else:
            names = [self._remembered(name, is_identifier=False) for name in members]
        names = _numbered(names, members)
        for name, value in zip(names, members.values(), strict=True):
            if self._names.is_kept(name):
                cleaned[name] = value
            elif self._names.is_telling(name):
                cleaned[name] = _without_leaves(value)
            elif isinstance(value, str) and len(value) <= CACHED_LENGTH_MAX:
                cleaned[name] = self._remembered(value, is_identifier=is_identifier(name))
                yield
            elif isinstance(value, dict):
                cleaned[name] = yield from self._cleaning_members(value)
            elif isinstance(value, list):
                cleaned[name] = yield from self._cleaning_list(value, name)
            elif isinstance(value, str):
                cleaned[name] = yield from self._finally(value, is_identifier=is_identifier(name))
            else:
                cleaned[name] = REDACTED if _is_card(value) else value
        return cleaned

    def _short(self, text: str, *, is_identifier: bool) -> str:
        # most have nothing to clean, and steps cost as much as this look
        return completed(self._finally(text, is_identifier=is_identifier)) if self._sees(text) else text

    def _finally(self, text: str, *, is_identifier: bool) -> Steps[str]:
        """Clean until nothing changes: what was cut out may have hidden something, or made it whole."""
        for _ in range(_ROUNDS_MAX):
            cleaned = yield from self._once(text, _DECODED_MAX, is_identifier=is_identifier)
            if cleaned == text:
                return text
            text = cleaned
            yield
        return REDACTED

    def _once(self, text: str, decoded_max: int, *, is_identifier: bool) -> Steps[str]:
        if not self._sees(text):
            return text
        if "%" in text and decoded_max:
            text = yield from self._decoding(text, decoded_max, is_identifier=is_identifier)
        text = yield from secrets.cleaning(text)
        text = yield from emails.cleaning(text)
        if any(map(str.isdigit, text)):
            text = yield from accounts.without_ibans(text)
            text = yield from numbers.cleaning(text, is_identifier=is_identifier)
            text = yield from addresses.cleaning(text, self._ip)
        return (yield from self._names.cleaning(text))  # last: the value of a name ends at a space

    def _decoding(self, text: str, decoded_max: int, *, is_identifier: bool) -> Steps[str]:
        """A text without the parts of pages' addresses that are not clean behind their encoding."""
        pieces: list[str] = []
        end = 0
        for match in _ENCODED.finditer(text):
            plain = unquote(match[0])
            if plain != (yield from self._once(plain, decoded_max - 1, is_identifier=is_identifier)):
                pieces += text[end : match.start()], REDACTED
                end = match.end()
            yield
        return "".join((*pieces, text[end:])) if pieces else text


rules = lru_cache(Rules)


def _is_card(value: Json) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _CARD_LEAST <= value < _CARD_MOST:
        return False
    return value == int(value) and cards.is_card(str(int(value)))


def _without_leaves(value: Json) -> Json:
    """A value of the same shape that says nothing."""
    if isinstance(value, list):
        return [_without_leaves(part) for part in value]
    if isinstance(value, dict):
        return {key: _without_leaves(part) for key, part in value.items()}
    return value if value is None or value == "" or isinstance(value, bool) else REDACTED


def _numbered(names: list[Any], before: Iterable[str]) -> list[str]:
    """The cleaned names of members; two that became the same are numbered, or one of them would be lost."""
    if len(set(names)) == len(names):
        return names
    taken = {name for name, old in zip(names, before, strict=True) if name == old}
    counts: dict[str, int] = {}
    numbered = []
    for name, old in zip(names, before, strict=True):
        free = name
        while name != old and free in taken:
            counts[name] = counts.get(name, 1) + 1
            free = f"{name}#{counts[name]}"
        taken.add(free)
        numbered.append(free)
    return numbered
