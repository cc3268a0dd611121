"""Rules: a JSON value in, the same without personal data and secrets out.

Nothing is cleaned that the pattern of `needs_care` does not see, neither in a text nor in the JSON that holds it. What
comes out has the shape of what went in, and is final: to clean it again changes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import unquote

from evothesis.collector.decode import ODD
from evothesis.collector.privacy import accounts, addresses, cards, emails, numbers, secrets
from evothesis.collector.privacy.names import Names, is_identifier
from evothesis.collector.privacy.signs import HIDDEN, REDACTED, compiled
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
        self._remembered = lru_cache(CACHED_MAX)(self._final)

    def needs_care(self, data: bytes) -> bool:
        """One look at JSON text: whether it must be written anew, for privacy's sake or for a reader's."""
        return self._looks_odd(data) is not None

    def cleaned(self, value: Json, name: str = "") -> Json:
        """A JSON value, of the member `name`, with `[redacted]` in the place of what must not be kept."""
        if isinstance(value, str):
            return self._text(value, is_identifier=is_identifier(name))
        if isinstance(value, list):
            return [self.cleaned(part, name) for part in value]
        if isinstance(value, dict):
            return self._cleaned_members(value)
        return REDACTED if _is_card(value) else value

    def cleaned_text(self, text: str | None) -> str | None:
        """A single text, such as a user agent."""
        return self._text(text, is_identifier=False) if text else text

    def _cleaned_members(self, members: dict[str, Json]) -> dict[str, Json]:
        cleaned: dict[str, Json] = {}
        for key, value in zip(self._cleaned_keys(members), members.values(), strict=True):
            if self._names.is_kept(key):
                cleaned[key] = value
            elif self._names.is_telling(key):
                cleaned[key] = _without_leaves(value)
            else:
                cleaned[key] = self.cleaned(value, key)
        return cleaned

    def _cleaned_keys(self, members: dict[str, Json]) -> list[str]:
        """The names of members; two that become the same are numbered, or one of them would be lost."""
        keys = [self._text(key, is_identifier=False) for key in members]
        if len(set(keys)) == len(keys):
            return keys
        taken = {key for key, name in zip(keys, members, strict=True) if key == name}
        counts: dict[str, int] = {}
        numbered = []
        for key, name in zip(keys, members, strict=True):
            free = key
            while key != name and free in taken:
                counts[key] = counts.get(key, 1) + 1
                free = f"{key}#{counts[key]}"
            taken.add(free)
            numbered.append(free)
        return numbered

    def _text(self, text: str, *, is_identifier: bool) -> str:
        clean = self._remembered if len(text) <= CACHED_LENGTH_MAX else self._final
        return clean(text, is_identifier=is_identifier)

    def _final(self, text: str, *, is_identifier: bool) -> str:
        """Clean until nothing changes: what was cut out may have hidden something, or made it whole."""
        for _ in range(_ROUNDS_MAX):
            cleaned = self._once(text, _DECODED_MAX, is_identifier=is_identifier)
            if cleaned == text:
                return text
            text = cleaned
        return REDACTED

    def _once(self, text: str, decoded_max: int, *, is_identifier: bool) -> str:
        if not self._sees(text):
            return text
        if "%" in text and decoded_max:
            text = _ENCODED.sub(lambda match: self._decoded(match[0], decoded_max, is_identifier=is_identifier), text)
        text = emails.cleaned(secrets.cleaned(text))
        if any(map(str.isdigit, text)):
            text = numbers.cleaned(accounts.without_ibans(text), is_identifier=is_identifier)
            text = addresses.cleaned(text, self._ip)
        return self._names.cleaned(text)  # last: the value of a name ends at a space

    def _decoded(self, part: str, decoded_max: int, *, is_identifier: bool) -> str:
        """A part of a page's address, redacted as a whole when it is not clean behind its encoding."""
        plain = unquote(part)
        return part if self._once(plain, decoded_max - 1, is_identifier=is_identifier) == plain else REDACTED


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
