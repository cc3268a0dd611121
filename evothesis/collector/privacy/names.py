"""Names: what the name of a member or of a parameter says of its value."""

from __future__ import annotations

import re
from functools import lru_cache

from evothesis.collector.privacy.signs import REDACTED, compiled, replacing
from evothesis.collector.steps import Steps

# Telling wherever the name ends with them, whatever stands before: `oldPassword`, `x-amz-security-token`, `jsessionid`
_ENDINGS = (
    "e[_-]?mail|passw(?:or[dt]|d)|passphrase|passcode|secret|token|jwt|credentials?|signature|authorization|cookies?|"
    "api[_-]?key|(?:access|private|secret|session|auth)[_-]?key|"
    "(?:first|last|sur|full|given|family|middle|maiden|user)[_-]?name|"
    "(?:tele|cell|mobile|home|work|user|customer|contact|billing|shipping)[_-]?phone|msisdn|"
    "(?:card|cc|account|passport)[_-]?(?:number|num|no)|card[_-]?holder|cvv2?|cvc2?|"
    "birth[_-]?(?:day|date)|date[_-]?of[_-]?birth|social[_-]?security|"
    "(?:auth|oauth)[_-]?(?:code|verifier)|street[_-]?address|(?:home|postal|billing|shipping)[_-]?address"
)
# Telling only as a word of their own: a class name is no `ssn`, an iPhone no `phone`
_WORDS = "mail|pwd|phone|fax|iban|ssn|otp|dob|passport|street"
# Telling in addresses of pages only: events have a `sessionId`, and shops have a `card` and a `mobile` view
_PARAMETER_ENDINGS = "session[_-]?id|sessid"
_PARAMETER_WORDS = "session|sid|auth|sig|pass|mobile|tel|birth|card"
_TAIL = (
    r"(?:[_.-]?(?:address|number|num|no|nr|hash|md5|sha1|sha256|value|confirm(?:ation)?|repeat|encoded|[0-9]))*"
    r"(?:\]|%5[Dd])?"
)
_HEAD = r"(?:[A-Za-z0-9_.\-\[\]]|%5[BbDd])*"


def _named(endings: str, words: str) -> str:
    """What a whole name may be."""
    return rf"(?i:(?:{_HEAD}(?:{endings})|(?:{_HEAD}(?:[_.\-\[]|%5[Bb]))?(?:{words})){_TAIL})"


_MEMBER = _named(_ENDINGS, _WORDS)
_PARAMETER = _named(f"{_ENDINGS}|{_PARAMETER_ENDINGS}", f"{_WORDS}|{_PARAMETER_WORDS}")

# A number, a time, a product or an order: its digits are no telephone's
_IDENTIFIER = compiled(
    r"(?:.*[_.\- ])?(?i:id|ids|uuid|guid|sku|ean|gtin|upc|isbn|asin|mpn|hash|no|nr|number|code|ref|reference|serial|"
    r"order|invoice|tracking|version|build|variant|model|product|item|position|price|total|amount|timestamp)|"
    r".*[a-z0-9](?:Id|Ids|ID|IDs|Uuid|UUID|Sku|SKU|Ean|Gtin|Upc|Isbn|Hash|No|Nr|Number|Code|Ref|Reference|Serial|"
    r"Version|Build|Variant|Model|Price|Total|Amount|Timestamp)"
)
_REMEMBERED_MAX, _REMEMBERED_LENGTH_MAX = 1_024, 100  # a site has few names, and they are short
_CODE_LENGTH_MIN = 20  # a grant of OAuth has more, a voucher has less


class Names:
    """The built-in names, and those of the configuration."""

    def __init__(self, redacted: tuple[str, ...] = (), kept: tuple[str, ...] = ()) -> None:
        """`redacted` are telling too; `kept` are not, whatever they look like. Neither case nor separators count."""
        configured = list(map(_spelled, redacted))
        member, parameter = ("|".join((names, *configured)) for names in (_MEMBER, _PARAMETER))
        # how such a name ends, and what follows it; a member may also be one of JSON that is a text itself
        of_member = "|".join((rf"(?i:{_ENDINGS}|{_WORDS}){_TAIL}", *configured))
        of_parameter = "|".join((of_member, rf"(?i:{_PARAMETER_ENDINGS}|{_PARAMETER_WORDS}){_TAIL}"))
        self.sight = "|".join(
            (
                rf'(?:{of_member})\\?"\s*:',
                rf"(?:{of_parameter})(?:=|%3[dD])",
                rf'(?i:code)(?:=|%3[dD])[^&#;\s"]{{{_CODE_LENGTH_MIN}}}',
            )
        )
        self._telling = compiled(member)
        self._remembered = lru_cache(_REMEMBERED_MAX)(self._matches)
        self._kept = frozenset(map(_plain, kept))
        self._parameter = compiled(rf"""([?&#;,\s"'({{]|^)({parameter})=([^&#;\s"<>]+)""")
        self._member = compiled(rf'"({member})"\s*:\s*("(?:[^"\\]|\\.)*|-?[0-9][0-9.]*)')
        self._code = compiled(rf"""([?&#;])((?i:code))=([^&#;\s"<>]{{{_CODE_LENGTH_MIN},}})""")

    def is_kept(self, name: str) -> bool:
        """Whether a member's value is kept as it is."""
        return bool(self._kept) and _plain(name) in self._kept

    def is_telling(self, name: str) -> bool:
        """Whether a member's value is taken away whatever it is."""
        return self._remembered(name) if len(name) <= _REMEMBERED_LENGTH_MAX else self._matches(name)

    def _matches(self, name: str) -> bool:
        return self._telling.fullmatch(name) is not None

    def cleaning(self, text: str) -> Steps[str]:
        """A text without the values of telling parameters, and of telling members of JSON in it."""
        if "=" in text:
            text = yield from replacing(self._parameter, self._without_value, text)
            text = yield from replacing(self._code, self._without_value, text)
        if '"' in text:
            text = yield from replacing(self._member, self._without_member, text)
        return text

    def _without_value(self, match: re.Match[str]) -> str:
        before, name, value = match.groups()
        if self.is_kept(name):
            return match[0]
        # behind a parameter of a path, `;jsessionid=1?page=2`, comes the query
        rest = value[value.find("?") :] if before == ";" and "?" in value else ""
        return f"{before}{name}={REDACTED}{rest}"

    def _without_member(self, match: re.Match[str]) -> str:
        name, value = match.groups()
        if self.is_kept(name):
            return match[0]
        closing = "" if value.startswith('"') else '"'  # that of a text stands behind the match
        return f'{match[0].removesuffix(value)}"{REDACTED}{closing}'


def is_identifier(name: str) -> bool:
    """Whether a member's value is a number or a code that only looks like a telephone's."""
    return len(name) <= _REMEMBERED_LENGTH_MAX and _looks_like_identifier(name)


@lru_cache(_REMEMBERED_MAX)
def _looks_like_identifier(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in "_.- ")


def _spelled(name: str) -> str:
    """A configured name in any case and with any separators: `firstName` is `first_name`."""
    words = re.findall(r"[A-Z]?[^A-Z_.\- ]+|[A-Z]+", name)
    return rf"(?i:{'[_.-]?'.join(map(re.escape, words))})"
