"""Privacy, whatever is sent: nothing raises, nothing is lost, nothing is overlooked, and nothing takes long."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.collector import privacy
from evothesis.config import Privacy
from evothesis.event import Json

RULES = privacy.rules(Privacy(fields_redacted=("loyaltyNumber",), fields_kept=("sku",)))
# whole and broken pieces of everything that a rule looks for, and what it looks for around it
PIECES = """
    jane@example.com @ %40 . 4111 4111111111111111 1111 411111 111111 37828 2246310005 DE89 3704 0044 0532 0130 00
    GB29NWBK60161331926819 nwbk 078 05 1120 ssn social + +49 49 171 2345678 030 901820 415 555 0132 ( ) - / \\ " tel
    phone call tel. 手机 é 0 1 8 12 138 0013 8000 123 45 67 89 06 612 34 56 78 % %20 %2B %3D %25 %34 %C2%A0 ? & = # ;
    token password email first_name code user[ %5B ] abc sk_live_ abcdefghij0123456789 AKIA ABCDEFGHIJKLMNOP ghp_
    Bearer Basic eyJhbGciOiJIUzI1 eyJzdWIiOiIx amFuZTpzZWNyZXQ= -----BEGIN KEY----- PRIVATE RSA -----END 203.0.113.77
    2001:db8:1:2 ::1 : v id order [redacted] http:// :// hooks.slack.com/services/ x , _ 2026-11-22 T09:00:00 { }
    loyaltyNumber sku
""".split()  # noqa: SIM905 - a hundred quoted strings are not read
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "  ", "\n", "\t", "\u00a0", "\u2011"]), max_size=9).map("".join)
KEYS = TEXTS | st.sampled_from(
    ["password", "sku", "loyalty_number", "order_id", "sessionId", "jane@example.com", "joe@example.com", "[redacted]"]
)
NUMBERS = st.integers() | st.sampled_from(
    [4_111_111_111_111_111, 4_222_222_222_222, 378_282_246_310_005, 4_111_111_111_111_111.0, 1e300, 0.5, 10**18]
)
VALUES = st.recursive(
    TEXTS | NUMBERS | st.booleans() | st.none() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(KEYS, parts, max_size=3),
    max_leaves=6,
)


def shape(value: Json) -> Json:
    """A value without what it says."""
    if isinstance(value, list):
        return [shape(part) for part in value]
    if isinstance(value, dict):
        return {"members": [shape(part) for part in value.values()]}
    return None


def spellings(value: Json) -> Iterator[bytes]:
    """An event as JSON, in the ways in which encoders write it."""
    for ensure_ascii in (False, True):
        for separators in ((",", ":"), (", ", ": ")):
            text = json.dumps({"eventType": "a", "data": value}, ensure_ascii=ensure_ascii, separators=separators)
            yield from (spelled.encode("utf-8", "surrogatepass") for spelled in (text, text.replace("/", r"\/")))


@given(VALUES)
def test_cleaning_is_final(value: Json) -> None:
    """What is clean stays as it is: cleaning twice is cleaning once."""
    once = RULES.cleaned(value)

    assert once == RULES.cleaned(once)


@given(VALUES)
def test_shape_stays(value: Json) -> None:
    """No member and no element is lost, also where two names become the same; and it is JSON."""
    cleaned = RULES.cleaned(value)

    assert shape(value) == shape(cleaned)
    assert cleaned == json.loads(json.dumps(cleaned))


@given(VALUES)
def test_one_look_sees_everything(value: Json) -> None:
    """An event that is not taken apart has nothing to clean, however its JSON is written."""
    unseen = [body for body in spellings(value) if not RULES.needs_care(body)]

    assert not unseen or json.dumps(value) == json.dumps(RULES.cleaned(value))


def calls(text: str) -> int:
    """How many calls, of Python and of C, it takes to clean a text."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    RULES.cleaned(text[:100])  # caches are filled
    sys.setprofile(profile)
    try:
        RULES.cleaned(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "part",
    [
        *("a.", "a@", "4", "4 ", "?", "?token", "&mail=", "token=a&", '"token":"a",', "user[password]=1&", "%41"),
        *("+4930901820 ", "+1 ", "DE89 ", "DE89DE89", "0171 2345678 ", "tel 1", "4111 ", "4111-1111-1111-1111 "),
        *("4111111111111111 ", "415-555-0132 ", "a@b.co ", "é@é.de ", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa.a."),
        *("Bearer ", "203.0.113.77 ", "1.1.1.1.", "2001:db8::1 ", "2001:", "://a@", "sk_live_abcdefghij0123456789 "),
        *("(030) ", "%2541"),
    ],
)
def test_work_is_linear(part: str) -> None:
    """A text of twice the length takes no more than twice the calls; what happens within one is re2's promise."""
    once = part * (2_000 // len(part))

    assert calls(once * 2) <= 2.1 * calls(once) + 100
