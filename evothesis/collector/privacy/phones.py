"""Phones: telephone numbers among the groups of digits of a text, by the numbering plans of all countries.

With `+` or `00` any number that a plan allows. National numbers only as people write them: with a leading zero, with
the area in brackets, in the groups of a country that writes no zero, or after a word such as `tel`. Digits without any
of it are an id.
"""

from __future__ import annotations

from collections.abc import Callable

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from evothesis.collector.privacy.groups import Groups, is_word
from evothesis.collector.privacy.signs import APART, GAP, RIGHT, compiled

_DIGITS_MIN = 7
_INTERNATIONAL_DIGITS = range(8, 16)  # ITU-T E.164
_TRUNK_DIGITS = range(9, 13)
_GROUPS_MAX = 8
_WORD_LENGTH_MAX = 40  # of the words before a number that say what it is
_WORD_GAP_MAX = 6  # the last character of such a word is not further away
_ZERO = "0"
_NOT_BEFORE = frozenset("/-._#&%@$€£¥*")  # what stands before a part of an address, an amount or a code
_LOOSE = frozenset((None, " ", "  ", " (", "(", ") ", " / ", " - "))  # between two numbers rather than within one
_ONE = frozenset(" -.\u00a0\u2011")
_YEARS = ("19", "20")
_POSTCODE = (5, 4)  # `02134-1000`

_WORD = (
    "tel|t[ée]l|telp|telefon|t[ée]l[ée]phone|tel[ée]fono|telefone|telefoon|puhelin|phone|mobile|mobil|m[óo]vil|gsm|natel|"
    "mobiltelefon|cell|cellphone|cellulare|celular|handy|fax|whatsapp|signal|sms|call|dial|rufnummer|anrufen|appelez|"
    "appeler|ring|bel|llama|llame|chiama|ligue|hotline|тел|телефон|моб|мобильный|звоните|τηλ|τηλέφωνο|טלפון|هاتف"
)
_WORD_WITHIN = "電話|电话|手机|座机|携帯|전화|휴대폰"  # in languages without spaces
_FILLER = (
    "number|numbers|nr|no|num|nummer|numero|n[úu]mero|num[ée]ro|номер|phone|mobile|me|us|him|her|on|at|is|now|under|unter|"
    "mich|uns|au|al|le|the|my|our|line|office|home|work|sales|support|anytime|bitte|please|zu|am|ist|or|es|est|på|naar"
)
_IDENTIFIER = (
    "order|orders|bestellung|commande|pedido|ordine|invoice|rechnung|facture|sku|ref|reference|id|item|art|artikel|"
    "article|part|model|serial|ticket|case|booking|tracking|parcel|shipment|isbn|ean|gtin|upc|product|code|no|nr|number|"
    "version|build|account|contract|customer|policy|lot|batch|rma|po"
)
_AFTER_WORD = compiled(
    rf"(?i)(?:(?:^|[^\p{{L}}0-9])(?:{_WORD})|{_WORD_WITHIN})(?:[^\p{{L}}0-9]{{1,3}}(?:{_FILLER}))*[^\p{{L}}0-9]{{0,5}}$"
)
_AFTER_IDENTIFIER = compiled(
    rf"(?i)(?:^|[^\p{{L}}0-9])(?:{_IDENTIFIER})(?:[^\p{{L}}0-9]{{1,3}}(?:{_IDENTIFIER}))*[^\p{{L}}0-9]{{0,4}}$"
)

SIGHT = "|".join(
    (
        rf"(?:\+|%2[bB]){GAP}*[1-9](?:{GAP}*[0-9]){{7}}",
        rf"{APART}00(?:[ ()/+-]|\\/|%2[0-9A-Fa-f])*[1-9](?:{GAP}*[0-9]){{7}}",
        rf"{APART}0[1-9](?:{GAP}*[0-9]){{7,10}}{RIGHT}",
        rf"(?:\(|%28)[0-9]{{2,5}}(?:\)|%29){GAP}*[0-9]{{3}}",
        rf"{APART}(?:[18]{GAP}+)?[0-9]{{3}}{GAP}+[0-9]{{3}}{GAP}+(?:[0-9]{{4}}|[0-9]{{2}}{GAP}+[0-9]{{2}}){RIGHT}",
        rf"{APART}[0-9]{{3}}(?:{GAP}+[0-9]{{2}}){{3}}{RIGHT}",
        rf"{APART}1[3-9][0-9]{GAP}+[0-9]{{4}}{GAP}+[0-9]{{4}}{RIGHT}",
        rf'(?i:{_WORD}|{_WORD_WITHIN})(?:[^0-9"A-Za-z]|\\["bfnrt]|(?i:{_FILLER}))*(?:{GAP}*[0-9]){{7}}',
    )
)


def _plan(region: str, code: int) -> str:
    """Which digits may follow a country's code."""
    is_country = region != "001"  # else a service of the whole world
    data = PhoneMetadata.metadata_for_region(region) if is_country else PhoneMetadata.metadata_for_nongeo_region(code)
    pattern = data.general_desc.national_number_pattern if data and data.general_desc else None
    return pattern or r"[^\x00-\x{10ffff}]"  # nothing matches it


_PLANS = {
    (code, region): _plan(region, code) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() for region in regions
}
_INTERNATIONAL = compiled("|".join(f"{code}(?:{plan})" for (code, _), plan in _PLANS.items()))
_NATIONAL = compiled("|".join(sorted(set(_PLANS.values()))))
# Groups of countries that write no zero, with a digit before them where one is dialled
_AMERICAN, _SPANISH, _RUSSIAN = (compiled(_PLANS[place]) for place in ((1, "US"), (34, "ES"), (7, "RU")))
_CHINESE_MOBILE = compiled(r"1[3-9][0-9]{9}")
_SHAPES = {
    (3, 3, 4): ("", _AMERICAN),
    (1, 3, 3, 4): ("1", _AMERICAN),
    (3, 2, 2, 2): ("", _SPANISH),
    (3, 4, 4): ("", _CHINESE_MOBILE),
    (3, 3, 2, 2): ("", _RUSSIAN),
    (1, 3, 3, 2, 2): ("8", _RUSSIAN),
}


def count(groups: Groups, index: int, *, is_identifier: bool) -> int:
    """How many groups, from this one on, are a telephone number; 0 when none are."""
    found = _dialled(groups, index)
    if sum(map(len, found)) < _DIGITS_MIN:
        return 0
    return _international(groups, index, found) or (0 if is_identifier else _national(groups, index, found))


def begin(groups: Groups, index: int, count: int) -> int:
    """Where the number begins: its plus, and the bracket of its area, belong to it."""
    start = groups.begin(index)
    text = groups.text
    if ")" in "".join(groups.gaps(index, min(count, 2))) and groups.before(index) == "(":
        start -= 1
    before = text[max(0, start - 2) : start]
    return start - 1 if before.endswith("+") else start - 2 if before == "+ " else start


def _national(groups: Groups, index: int, found: list[str]) -> int:
    before, begin = groups.before(index), groups.begin(index)
    if is_word(before) or _is_date(found):
        return 0
    said = groups.text[max(0, begin - _WORD_LENGTH_MAX) : begin]
    is_said = any(map(str.isalpha, said[-_WORD_GAP_MAX:]))  # else there is no word to look for
    if is_said and _AFTER_WORD.search(said) and (length := _any(groups, index, found)):
        return length
    if before in _NOT_BEFORE or groups.gap(index) not in _LOOSE:
        return 0
    written = _bracketed if before == "(" else _with_zero if found[0].startswith(_ZERO) else _shaped
    length = written(groups, index, found)
    return 0 if length and is_said and _AFTER_IDENTIFIER.search(said) else length


def _dialled(groups: Groups, index: int) -> list[str]:
    """The groups that may belong to one number: another one begins with its own plus."""
    found = groups.together(index, _GROUPS_MAX)
    gaps = groups.gaps(index, len(found))
    return found[: next((length for length, gap in enumerate(gaps, start=1) if "+" in gap[1:]), len(found))]


def _international(groups: Groups, index: int, found: list[str]) -> int:
    begin = groups.begin(index)
    said = groups.text[max(0, begin - 3) : begin]
    plus = said.rstrip(" (")
    if plus.endswith("+") and not is_word(plus[:-1][-1:]):
        return _longest(groups, index, found, _INTERNATIONAL_DIGITS, _INTERNATIONAL.fullmatch)
    is_second = groups.text[max(0, begin - 2) : begin - 1].isdigit() and groups.before(index) == ":"  # of a time
    is_apart = not (is_second or is_word(groups.before(index))) and groups.gap(index) in _LOOSE and len(found) > 1
    if is_apart and found[0].startswith("00") and groups.before(index) not in _NOT_BEFORE:
        with_zeros = range(_INTERNATIONAL_DIGITS.start + 2, _INTERNATIONAL_DIGITS.stop + 2)
        return _longest(groups, index, found, with_zeros, lambda digits: _INTERNATIONAL.fullmatch(digits[2:]))
    return 0


def _any(groups: Groups, index: int, found: list[str]) -> int:
    """After a word that says so: any groups of two digits and more."""
    whole = next((length for length, part in enumerate(found[1:], start=1) if len(part) == 1), len(found))
    return _longest(groups, index, found[:whole], range(_DIGITS_MIN, _TRUNK_DIGITS.stop), lambda _: True)


def _with_zero(groups: Groups, index: int, found: list[str]) -> int:
    area = found[0]
    if area.startswith("00") or not 2 <= len(area) <= 5:  # noqa: PLR2004 - the digits of an area
        return 0
    length = _longest(groups, index, found, _TRUNK_DIGITS, lambda digits: _NATIONAL.fullmatch(digits[1:]))
    gaps = groups.gaps(index, length)
    is_whole = gaps and groups.gap(index + length) in _LOOSE and min(map(len, found[:length])) > 1
    is_postcode = tuple(map(len, found[:length])) == _POSTCODE
    return length if is_whole and not is_postcode and _are_written(gaps, area) else 0


def _are_written(gaps: list[str], area: str) -> bool:
    """A slash stands behind the area only, and one full stop alone makes a decimal."""
    if "/" in "".join(gaps[1:]) or "_" in "".join(gaps):
        return False
    return ("/" not in gaps[0] or len(area) > 2) and gaps != ["."]  # noqa: PLR2004 - the day of a date


def _bracketed(groups: Groups, index: int, found: list[str]) -> int:
    area, begin = found[0], groups.begin(index) - 1
    is_call = is_word(groups.text[max(0, begin - 1) : begin])
    if groups.after(index) != ")" or is_call or not 2 <= len(area) <= 5:  # noqa: PLR2004 - an area
        return 0

    digits = range(_TRUNK_DIGITS.start - 1, _TRUNK_DIGITS.stop)
    length = _longest(groups, index, found, digits, lambda digits: _NATIONAL.fullmatch(digits.removeprefix(_ZERO)))
    return length if length > 1 else 0


def _shaped(groups: Groups, index: int, found: list[str]) -> int:
    for length in (5, 4, 3):
        prefix, plan = _SHAPES.get(tuple(map(len, found[:length])), ("", None))
        digits = "".join(found[:length])
        if plan is None or len(found) < length or not digits.startswith(prefix):
            continue
        if plan.fullmatch(digits.removeprefix(prefix)) and _is_apart(groups, index, length, prefix):
            return length
    return 0


def _is_apart(groups: Groups, index: int, length: int, prefix: str) -> bool:
    """Whether one mark joins the groups behind the area, and nothing tighter others to them; lists have spaces too."""
    gaps = groups.gaps(index, length)[len(prefix) :]
    if len(set(gaps[1:])) > 1 or not _ONE.issuperset(gaps) or is_word(groups.after(index + length - 1)):
        return False
    around = groups.gap(index), groups.gap(index + length)
    return around == (None, None) if set(gaps) == {" "} else _LOOSE.issuperset(around)


def _longest(groups: Groups, index: int, found: list[str], lengths: range, is_number: Callable[[str], object]) -> int:
    """The most groups whose digits are a number; a zero in brackets is not dialled from abroad."""
    digits, longest = "", 0
    for count, part in enumerate(found, start=1):
        digits += "" if count > 1 and part == _ZERO else part
        if len(digits) >= lengths.stop:
            break
        if len(digits) in lengths and not is_word(groups.after(index + count - 1)) and is_number(digits):
            longest = count
    return longest


def _is_date(found: list[str]) -> bool:
    shape = tuple(map(len, found[:3]))
    return (shape == (2, 2, 4) and found[2][:2] in _YEARS) or (shape == (4, 2, 2) and found[0][:2] in _YEARS)
