"""Load: a target in, requests over loopback, and what came of them as JSON out.

Everything is rendered before the first byte is sent. Without --rate each connection sends as soon as it was answered
(closed loop); with it requests are due at fixed moments, and latency counts from the moment at which a request was due,
so that a server that stalls cannot hide it (open loop). Only answers 2xx count.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.requests import EVENTS_PER_REQUEST, Renderer, Request, Target

RECEIVE_BYTES_MAX = 65_536
ANSWER_SECONDS_MAX = 30  # without any answer the run is over
RATE_EXPECTED = 4_000  # requests a second without --rate: the times of events should be about right
CONTENT_TYPE = "text/plain;charset=UTF-8"  # what navigator.sendBeacon says of a text


class Schedule(NamedTuple):
    """When requests are due: `rate` a second, `factor` times that for the first `burst_seconds` of each period."""

    rate: float
    factor: float = 1
    burst_seconds: float = 0
    period_seconds: float = 60

    def moments(self, count: int) -> list[float]:
        """Seconds after the begin, one for each request."""
        moments, moment = [], 0.0
        for _ in range(count):
            moments.append(moment)
            moment += 1 / (self.rate * self.factor if self.is_burst(moment) else self.rate)
        return moments

    def is_burst(self, moment: float) -> bool:
        """Whether this moment lies in a burst."""
        return moment % self.period_seconds < self.burst_seconds


class Answer(NamedTuple):
    """What came of a request; monotonic seconds."""

    number: int
    status: int  # 0: the connection failed
    due_at: float
    answered_at: float


class Connection:
    """A kept-alive connection with one request under way at most."""

    def __init__(self, target: Target) -> None:
        """Connect."""
        self.socket = socket.create_connection((target.host, target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = -1
        self.due_at = 0.0
        self._received = b""

    def send(self, number: int, data: bytes, due_at: float) -> None:
        """Send a request; it fits into the socket's buffer, for the one before it was answered."""
        self.number, self.due_at = number, due_at
        self.socket.sendall(data)

    def receive(self) -> int | None:
        """The status of the answer, None while it is not complete."""
        data = self.socket.recv(RECEIVE_BYTES_MAX)
        if not data:
            message = "the server closed the connection"
            raise ConnectionError(message)
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = self._received[:head_end].lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(self._received) < head_end + 4 + int(length or 0):
            return None
        self._received = b""
        return int(head[9:12])


class Sender:
    """Sends requests, each over a connection that waits for nothing; for one that ended another one is opened."""

    def __init__(
        self, target: Target, requests: list[Request], *, connections: int, schedule: Schedule | None = None
    ) -> None:
        """Connect."""
        self._target = target
        self._requests = requests
        self._schedule = schedule
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Connection] = {}
        self._connections_max = connections
        self._idle = [self._connect() for _ in range(connections)]
        self._moments: list[float] = []  # at which requests are due; empty: at once
        self._sent = 0
        self._answers: list[Answer] = []

    def run(self) -> list[Answer]:
        """Send all; the answers in the order in which they came. Ends early when the server is silent or gone."""
        if self._schedule:
            began = time.monotonic()
            self._moments = [began + moment for moment in self._schedule.moments(len(self._requests))]
        with suppress(ConnectionError):  # nobody is there to connect to
            while len(self._answers) < len(self._requests):
                wait = self._send_due()
                ready = self._wait(wait)
                if not ready and wait == ANSWER_SECONDS_MAX:
                    break
                for descriptor, _ in ready:
                    self._receive(self._by_descriptor[descriptor])
        for connection in self._by_descriptor.values():
            connection.socket.close()
        return self._answers

    def _send_due(self) -> float:
        """Send what is due; the seconds until there is something to do, unless an answer comes before."""
        while self._sent < len(self._requests):
            now = time.monotonic()
            due_at = self._moments[self._sent] if self._moments else now
            if due_at > now:
                return due_at - now
            if not self._idle and len(self._by_descriptor) == self._connections_max:
                break
            connection = self._idle.pop() if self._idle else self._connect()
            connection.send(self._sent, self._requests[self._sent].data, due_at)
            self._sent += 1
        return ANSWER_SECONDS_MAX

    def _connect(self) -> Connection:
        connection = Connection(self._target)
        self._by_descriptor[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        if not self._moments:
            return self._poll.poll(seconds)
        # select(2) waits for microseconds, epoll_wait(2) only for milliseconds
        return self._poll.poll(0) if select.select([self._poll], [], [], seconds)[0] else []

    def _receive(self, connection: Connection) -> None:
        try:
            status = connection.receive()
        except OSError:
            status = 0
            descriptor = connection.socket.fileno()
            self._poll.unregister(descriptor)
            del self._by_descriptor[descriptor]
            connection.socket.close()
            if connection in self._idle:  # a server need not keep for ever what nobody uses
                self._idle.remove(connection)
                return
        if status is None:
            return
        self._answers.append(Answer(connection.number, status, connection.due_at, time.monotonic()))
        if status:
            self._idle.append(connection)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds at p50, p90, p99 and the maximum; empty when there is nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(share * len(ordered)))] * 1000, 3) for name, share in at.items()}


def summary(
    answers: list[Answer], requests: list[Request], *, events: int, schedule: Schedule | None
) -> dict[str, Any]:
    """What is printed."""
    good = [answer for answer in answers if 200 <= answer.status < 300]  # noqa: PLR2004 - HTTP's own numbers
    statuses: dict[str, int] = {}
    for answer in answers:
        statuses[str(answer.status)] = statuses.get(str(answer.status), 0) + 1
    began, ended = min(answer.due_at for answer in answers), max(answer.answered_at for answer in answers)
    result: dict[str, Any] = {
        "requests": len(requests),
        "statuses": statuses,
        "events_acked": len(good) * events,
        "bytes_per_event": round(sum(len(request.data) for request in requests) / len(requests) / events),
        "began_at": began,
        "last_ack_at": ended,
        "seconds": round(ended - began, 3),
        "requests_per_second": round(len(good) / (ended - began), 1),
        "latency_ms": quantiles([answer.answered_at - answer.due_at for answer in good]),
    }
    if schedule and schedule.burst_seconds:
        for name, wanted in (("burst_latency_ms", True), ("calm_latency_ms", False)):
            chosen = [a for a in good if schedule.is_burst(a.due_at - began) == wanted]
            result[name] = quantiles([answer.answered_at - answer.due_at for answer in chosen])
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("url", help="where to POST, for example http://127.0.0.1:8000/collect; loopback only")
    parser.add_argument("--requests", type=int, default=1_000, help="how many in all (%(default)s)")
    parser.add_argument("--events", type=int, default=EVENTS_PER_REQUEST, help="in one request (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="kept alive (%(default)s)")
    parser.add_argument("--rate", type=float, help="requests a second, due at fixed moments; else as fast as possible")
    parser.add_argument("--burst-factor", type=float, default=1, help="times the rate during a burst (%(default)s)")
    parser.add_argument("--burst-seconds", type=float, default=0, help="how long each burst lasts (no bursts)")
    parser.add_argument("--period-seconds", type=float, default=60, help="from burst to burst (%(default)s)")
    parser.add_argument("--seed", type=int, help="for the same requests again, but for their times (the clock)")
    parser.add_argument("--hold", action="store_true", help="say `ready` when rendered, begin when a line comes in")
    parser.add_argument("--content-type", default=CONTENT_TYPE, help="(%(default)s)")
    parser.add_argument("--cpu", type=int, help="run on this one only")
    parser.add_argument("--acks", type=Path, help="write `first event id, monotonic seconds` of each 2xx here")
    return parser.parse_args()


def main() -> None:
    """Render, send, print."""
    arguments = _arguments()
    parts = urlsplit(arguments.url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        sys.exit("Error: only loopback is a target\nTry: http://127.0.0.1:8000/collect")
    target = Target(parts.hostname, parts.port or 80, parts.path, arguments.content_type)
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    schedule = None
    if arguments.rate:
        schedule = Schedule(arguments.rate, arguments.burst_factor, arguments.burst_seconds, arguments.period_seconds)
    seed = time.time_ns() if arguments.seed is None else arguments.seed
    renderer = Renderer(target, seed=seed, now=time.time())
    moments = (schedule or Schedule(RATE_EXPECTED)).moments(arguments.requests)
    requests = renderer.render(moments, events=arguments.events)
    if arguments.hold:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    rendered_cpu_seconds = time.process_time()
    answers = Sender(target, requests, connections=arguments.connections, schedule=schedule).run()
    result = summary(answers, requests, events=arguments.events, schedule=schedule)
    result["cpu_seconds"] = round(time.process_time() - rendered_cpu_seconds, 3)
    if arguments.acks:
        good = [a for a in answers if 200 <= a.status < 300]  # noqa: PLR2004 - as above
        lines = [f"{requests[answer.number].first_event_id},{answer.answered_at:.6f}\n" for answer in good]
        arguments.acks.write_text("".join(lines))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
