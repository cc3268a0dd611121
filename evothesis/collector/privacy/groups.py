"""Groups: the digits of a text as they are written, `0171 234-56` as three groups."""

from __future__ import annotations

import re
from typing import Self

from evothesis.collector.privacy.signs import GAPS, compiled, replacing
from evothesis.collector.steps import Steps

GAP_LENGTH_MAX = 3
_DIGITS = re.compile(r"[0-9]+")
_UUID = compiled(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")
_UUID_LENGTH, _UUID_HYPHENS = 36, 4
_GROUPS_AT_ONCE = 512  # to find one takes a microsecond

Span = tuple[int, int]


class Groups:
    """The groups of digits of a text, without those of its UUIDs."""

    def __init__(self, text: str, spans: list[Span], gaps: list[str | None]) -> None:
        """Where they stand, and what stands before each and behind the last one; see `gap`."""
        self.text = text
        self._spans = spans
        self._gaps = gaps

    @classmethod
    def finding(cls, text: str) -> Steps[Self]:
        """Those of a text."""
        without_uuids = text
        if text.count("-") >= _UUID_HYPHENS:
            without_uuids = yield from replacing(_UUID, "x" * _UUID_LENGTH, text)
        spans: list[Span] = []
        gaps: list[str | None] = []
        for match in _DIGITS.finditer(without_uuids):
            span = match.span()
            gaps.append(_gap(text, spans[-1], span) if spans else None)
            spans.append(span)
            if len(spans) % _GROUPS_AT_ONCE == 0:
                yield
        gaps.append(None)
        return cls(text, spans, gaps)

    def __len__(self) -> int:
        return len(self._spans)

    def begin(self, index: int) -> int:
        """Where a group begins."""
        return self._spans[index][0]

    def end(self, index: int) -> int:
        """Where a group ends."""
        return self._spans[index][1]

    def digits(self, index: int) -> str:
        """The group itself."""
        begin, end = self._spans[index]
        return self.text[begin:end]

    def gap(self, index: int) -> str | None:
        """What stands between a group and the one before it; None when they do not stand together."""
        return self._gaps[index]

    def together(self, index: int, count_max: int) -> list[str]:
        """A group and those that stand together with it, `count_max` at most."""
        following = self._gaps[index + 1 : index + count_max]
        count = following.index(None) + 1 if None in following else count_max
        return [self.text[begin:end] for begin, end in self._spans[index : index + count]]

    def gaps(self, index: int, count: int) -> list[str]:
        """What stands between so many groups that stand together."""
        return [gap or "" for gap in self._gaps[index + 1 : index + count]]

    def before(self, index: int) -> str:
        """The character before a group; empty at the beginning of the text."""
        begin = self.begin(index)
        return self.text[begin - 1 : begin]

    def after(self, index: int) -> str:
        """The character behind a group; empty at the end of the text."""
        end = self.end(index)
        return self.text[end : end + 1]


def _gap(text: str, span: Span, following: Span) -> str | None:
    gap = text[span[1] : min(following[0], span[1] + GAP_LENGTH_MAX + 1)]
    return gap if len(gap) <= GAP_LENGTH_MAX and GAPS.issuperset(gap) else None


def is_word(character: str) -> bool:
    """Whether a letter or a digit stands beside digits; those of languages without spaces do not count."""
    return character.isascii() and character.isalnum()
