"""Privacy in steps: what is found in a large text is what is found in its parts, and no step of it is long."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.collector import privacy
from evothesis.collector.privacy.signs import FINDS_AT_ONCE, compiled, replacing
from evothesis.collector.steps import Steps, completed
from evothesis.config import Privacy
from evothesis.event import Json
from tests.collector.test_privacy_corpus import ORDINARY, PERSONAL
from tests.collector.test_privacy_properties import TEXTS

RULES = privacy.rules(Privacy())
APART = "\n" + "and so on, " * 6 + "\n"  # no rule looks across it
ORDERS = 3
CALLS_MAX = 5_000  # in one step: a few milliseconds
LARGE = 8_000
WORDS = compiled(r"[0-9]+|([a-z])[a-z]*")

# a private key without its end goes up to the end of the text
SAMPLES = [
    sample.sent for sample in PERSONAL + ORDINARY if isinstance(sample.sent, str) and "cut ---" not in sample.sent
]


def large(part: str) -> str:
    """A text of them, which takes many steps."""
    return (part * (LARGE // len(part) + 1))[:LARGE]


@pytest.mark.parametrize("seed", range(ORDERS))
def test_samples_in_a_large_text(seed: int) -> None:
    """Each text of the corpus is cleaned among all others as it is alone, whatever stands before it."""
    samples = random.Random(seed).sample(SAMPLES, len(SAMPLES))

    assert [RULES.cleaned(sample) for sample in samples] == RULES.cleaned(APART.join(samples)).split(APART)


@given(st.lists(TEXTS, max_size=20), st.integers(1, 20))
def test_parts_of_a_large_text(parts: Sequence[str], times: int) -> None:
    """What nothing is found in between is cleaned together as it is apart."""
    texts = [part for part in parts if "KEY" not in part and '"' not in part] * times
    kept = [RULES.cleaned(f"{APART}{text}{APART}") for text in texts]

    assert "".join(kept) == RULES.cleaned("".join(f"{APART}{text}{APART}" for text in texts))


@given(st.text("ab1 ", max_size=20 * FINDS_AT_ONCE), st.sampled_from(["", "[gone]", r"\1"]))
def test_replacing(text: str, replacement: str) -> None:
    """What is replaced in steps is what the library replaces at once."""
    assert WORDS.sub(lambda _: replacement, text) == completed(replacing(WORDS, replacement, text))
    assert WORDS.sub(lambda match: match[0] * 2, text) == completed(replacing(WORDS, lambda match: match[0] * 2, text))


def calls_by_step(steps: Steps[Json]) -> list[int]:
    """How many calls, of Python and of C, each step takes."""
    counts = [0]

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        counts[-1] += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        for _ in steps:
            counts.append(0)  # noqa: PERF401 - it is counted in while the next step runs
    finally:
        sys.setprofile(None)
    return counts


@pytest.mark.parametrize(
    "part",
    [
        *(
            "1 ",
            "tel 0171 23 45 67 8 ",
            "%41 ",
            "%252541 ",
            "a@b.co ",
            "123e4567-e89b-12d3-a456-426614174000 tel 1234567 ",
        ),
        *("token=a&", '"token":"a",', "(030) ", "DE89 ", "4111-1111-1111-1111 ", "203.0.113.77 ", "1.1.1.1 ", "+1 "),
        *("-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa.a. ", "Bearer abcdefghijklmnop1 ", "://a@ "),
    ],
)
def test_steps_are_short(part: str) -> None:
    """However much a text has of it, a step looks at a little."""
    for value in (
        large(part),
        [f"{part}{number}" for number in range(200)],
        {f"{part}{number}": part for number in range(200)},
    ):
        counts = calls_by_step(RULES.cleaning(value))
        assert max(counts) < CALLS_MAX
