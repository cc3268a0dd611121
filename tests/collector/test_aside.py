"""Aside: work in steps beside a loop; what is new or small is not kept waiting, and there is an end to what waits."""

from __future__ import annotations

import asyncio
import threading
import time

from evothesis.collector.aside import PATIENCE_SECONDS, TURN_SECONDS, WAITING_BYTES_MAX, WAITING_MAX, Aside
from evothesis.collector.decode import EnvelopeError
from evothesis.collector.steps import Steps


def steps(name: str, count: int, done: list[str], seconds: float = 0.0) -> Steps[str]:
    """So many steps, each of which takes the processor for that long."""
    for _ in range(count):
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        yield
    done.append(name)
    return name


def endless(made: list[float]) -> Steps[str]:
    """Steps without an end, and the processor's time that they have had."""
    began = time.thread_time()
    while True:
        made.append(time.thread_time() - began)
        yield


def until_told(told: threading.Event) -> Steps[str]:
    """A step that keeps the thread until it is told to let go."""
    told.wait()
    yield
    return "told"


def failing() -> Steps[str]:
    """A step that fails."""
    yield
    message = "no"
    raise ValueError(message)


def outcome(result: object) -> object:
    """A result, or an error's code or text."""
    return result.code if isinstance(result, EnvelopeError) else str(result)


def test_results() -> None:
    """What is done aside comes back to whoever waits for it, an error too."""

    async def main() -> list[object]:
        aside = Aside()
        jobs = [aside.do(steps("a", 3, []), size_bytes=1), aside.do(failing(), size_bytes=1)]
        return list(map(outcome, await asyncio.gather(*jobs, return_exceptions=True)))

    assert ["a", "no"] == asyncio.run(main())


def test_small_overtakes() -> None:
    """Work of one step is done before the many steps that came first."""

    async def main() -> list[str]:
        aside, done = Aside(), list[str]()
        large = aside.do(steps("large", 50, done, seconds=0.01), size_bytes=1)
        await asyncio.sleep(0.05)
        await asyncio.gather(large, *(aside.do(steps(f"small {n}", 1, done), size_bytes=1) for n in range(3)))
        return done

    *first, last = asyncio.run(main())
    assert {"small 0", "small 1", "small 2"} == set(first)
    assert "large" == last


def test_loop_goes_round() -> None:
    """While the loop does not come round, though it computes nothing, no more than a turn of work is done."""

    async def main() -> float:
        aside, made = Aside(), [0.0]
        job = aside.do(endless(made), size_bytes=1)
        await asyncio.sleep(10 * TURN_SECONDS)
        before = made[-1]
        time.sleep(60 * TURN_SECONDS)  # noqa: ASYNC251 - the loop stands still
        after = made[-1]
        job.cancel()
        return after - before

    assert asyncio.run(main()) < 3 * TURN_SECONDS


def test_too_many() -> None:
    """Beyond a number, and beyond a size, work is refused; what was taken is done."""

    async def main() -> list[object]:
        aside, told = Aside(), threading.Event()
        first = aside.do(until_told(told), size_bytes=0)
        jobs = [aside.do(steps("a", 1, []), size_bytes=WAITING_BYTES_MAX // 4) for _ in range(6)]
        jobs += [aside.do(steps("b", 1, []), size_bytes=0) for _ in range(WAITING_MAX)]
        told.set()
        return list(map(outcome, await asyncio.gather(first, *jobs, return_exceptions=True)))

    taken = WAITING_MAX - 5  # beside the first one and four of a quarter of the size
    assert ["told", *["a"] * 4, *["too_busy"] * 2, *["b"] * taken, *["too_busy"] * 5] == asyncio.run(main())


def test_longest_gives_way() -> None:
    """When too much waits, what has had far more time than others is given up for what is new."""

    async def main() -> list[object]:
        aside, made = Aside(), [0.0]
        long = aside.do(endless(made), size_bytes=WAITING_BYTES_MAX)
        while made[-1] < 5 * PATIENCE_SECONDS:
            del made[:-1]
            await asyncio.sleep(0.01)
        new = aside.do(steps("new", 1, []), size_bytes=1)
        return list(map(outcome, await asyncio.gather(long, new, return_exceptions=True)))

    assert ["too_busy", "new"] == asyncio.run(main())
