"""PostgreSQL goes away in the middle of anything: each event is stored, and billed, once."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

import pytest

from tests.faults.loading import Loading
from tests.faults.proxy import AFTER, BEFORE, Proxy, Which
from tests.fix_world import USAGE, World, entry, event

COMMIT = re.compile(rb"\bcommit\b", re.IGNORECASE)
LOST_ANSWERS, LOST_ANSWERS_LONG = 20, 200
WORDS_MIN = 15  # of a loader that starts and loads one segment
STEP = 2  # in the short version not every word is cut


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    """A way to the world's database."""
    proxy = Proxy(world.database)
    yield proxy
    proxy.close()


def check(world: World, events: int) -> None:
    """Events 0, 1, 2 … are stored once each, and billed once each; their duplicates are counted beside them."""
    assert list(range(events)) == sorted(number for number, _ in world.stored())
    assert [(2, 1)] * (events // 2) == world.loads("accepted", "duplicate")
    assert [(events, events // 2)] == [(line["accepted"], line["duplicate"]) for line in world.rows(USAGE)]


def at_word(number: int, place: str) -> Which:
    """Cut at the word of that number."""
    return lambda word, _: place * (word == number)


def put(world: World, number: int) -> None:
    """A segment with events 2 * number and 2 * number + 1, and the first one once more."""
    world.put(entry(event(2 * number), event(2 * number + 1), event(2 * number)))


@pytest.mark.parametrize("place", [BEFORE, AFTER])
@pytest.mark.parametrize("step", [STEP, pytest.param(1, marks=pytest.mark.long)])
def test_cut_anywhere(world: World, proxy: Proxy, place: str, step: int) -> None:
    """Wherever the connection is cut between a loader's first word and its last, what it had to load is loaded once."""
    offset = random.randrange(step)
    print(f"{offset=}")  # noqa: T201 - pytest shows it with a failure
    for number in itertools.count():
        put(world, number)
        proxy.cut(at_word(offset + step * number, place))
        with Loading(world, proxy.dsn) as loading:
            loading.wait_until_drained()
        check(world, 2 * number + 2)
        if not proxy.cuts:
            break
    assert offset + step * number > WORDS_MIN


@pytest.mark.parametrize("answers", [LOST_ANSWERS, pytest.param(LOST_ANSWERS_LONG, marks=pytest.mark.long)])
def test_lost_answers(world: World, proxy: Proxy, answers: int) -> None:
    """A COMMIT that happened, and whose answer is lost, is not repeated."""
    seed = random.randrange(10**6)
    print(f"{seed=}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(seed)
    answered = [True]

    def which(_number: int, word: bytes) -> str:
        if not COMMIT.search(word):
            return ""
        # never two in a row, so that the loader gets on
        answered.append(not answered[-1] or chance.random() >= 0.7)
        return "" if answered[-1] else AFTER

    proxy.cut(which)
    with Loading(world, proxy.dsn) as loading:
        for number in itertools.count():
            put(world, number)
            loading.wait_until_drained()
            if proxy.cuts >= answers:
                break

    check(world, 2 * number + 2)
