"""Supervisor: programs in, running processes out, until told to stop.

Forks one process per program, starts those that die again with growing pauses, ends those whose work stands still,
stops all in order. It does nothing else, so that nothing else can stop it; signals, deaths and signs of life all arrive
through one selector.
"""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from setproctitle import setproctitle

from evothesis.errors import EvothesisError

log = logging.getLogger(__name__)

RESTART_SECONDS_MIN, RESTART_SECONDS_MAX = 0.1, 5.0
HEALTHY_SECONDS = 10  # a process that lived this long starts again without a pause
WATCH_SECONDS = 1.0
STILL_SECONDS_MAX = 60  # without a sign of life; who waits for PostgreSQL, however long, gives them
ALONE_SECONDS = 10  # more, then the kernel ends it: the parent would have, so there is none any more
STOP_SECONDS_MAX = 7  # for all groups; what was accepted is in the spool, even of a process that has to be killed
KILL_SECONDS_MAX = 1
_PR_SET_PDEATHSIG = 1  # prctl(2)

Pulse = Callable[[], None]


class Program(NamedTuple):
    """What one process does.

    `main` calls its argument when it is ready, and then at least every few seconds from the loop that does the work; it
    returns when the process got SIGTERM.
    """

    name: str
    main: Callable[[Pulse], None]


@dataclass
class _Process:
    program: Program
    pid: int = 0  # 0: not running
    started_at: float = 0
    start_at: float = 0
    pause_seconds: float = RESTART_SECONDS_MIN
    is_ready: bool = False
    alive_at: float = 0
    pipe: int = -1


class Supervisor:
    """Groups of programs: all start together; on the way down a group ends before the next one is told to."""

    def __init__(
        self, groups: Sequence[Sequence[Program]], *, tend: Callable[[], object], in_child: Callable[[], None]
    ) -> None:
        """`tend` is called at least every second in the parent; `in_child` first of all in every child."""
        self._groups = [[_Process(program) for program in group] for group in groups]
        self._tend = tend
        self._in_child = in_child
        self._selector = selectors.DefaultSelector()
        self._wake = socket.socketpair()
        self._stopping = False
        self.stopping_at = float("inf")  # monotonic
        self._watched_at = 0.0

    def run(self, on_ready: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT; `on_ready` is called once, when every program was ready."""
        for end in self._wake:
            end.settimeout(0)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self._loop(on_ready)
        finally:
            self._stopping = True
            notify("STOPPING=1")
            self.stopping_at = time.monotonic()
            for group in self._groups:
                self._stop_group(group, self.stopping_at + STOP_SECONDS_MAX)
            signal.set_wakeup_fd(-1)

    def _loop(self, on_ready: Callable[[], None]) -> None:
        announced = False
        while not self._stopping:
            self._reap()
            self._start_due()
            self._tend()
            if not announced and all(process.is_ready for process in self._processes()):
                announced = True
                on_ready()
                notify("READY=1")
            self._watch()
            self._wait(WATCH_SECONDS)

    def _processes(self) -> list[_Process]:
        return [process for group in self._groups for process in group]

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _wait(self, seconds_max: float) -> None:
        due = [process.start_at - time.monotonic() for process in self._processes() if not process.pid]
        for key, _ in self._selector.select(max(0, min([seconds_max, *due]))):
            if isinstance(key.fileobj, socket.socket):
                with suppress(BlockingIOError):
                    key.fileobj.recv(4096)
            elif os.read(key.data.pipe, 4096):
                key.data.is_ready = True
                key.data.alive_at = time.monotonic()
            else:
                self._forget_pipe(key.data)

    def _watch(self) -> None:
        """Kill a process whose loop stands still, so that it is started again; else tell systemd that all is well."""
        now = time.monotonic()
        if now - self._watched_at < WATCH_SECONDS:
            return
        if now - self._watched_at > STILL_SECONDS_MAX / 2:
            # it was this process that stood still, as all do in a machine that was paused
            for process in self._processes():
                process.alive_at = now
        self._watched_at = now
        still = [process for process in self._processes() if process.pid and now - process.alive_at > STILL_SECONDS_MAX]
        for process in still:
            log.error("Process stood still.", extra={"program": process.program.name, "pid": process.pid})
            os.kill(process.pid, signal.SIGKILL)
            process.alive_at = now
        if not still:
            notify("WATCHDOG=1")

    def _start_due(self) -> None:
        for process in self._processes():
            if process.pid or process.start_at > time.monotonic():
                continue
            try:
                self._fork(process)
            except OSError as error:  # no memory, no descriptor, no process: for now
                process.start_at = time.monotonic() + RESTART_SECONDS_MAX
                log.error(  # noqa: TRY400 - the reason says it all
                    "Process could not be started, trying again.",
                    extra={"program": process.program.name, "reason": error.strerror},
                )

    def _fork(self, process: _Process) -> None:
        read, write = os.pipe()
        parent = os.getpid()
        # a child that is told to end while it still has the parent's handler would not hear it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            process.pid = os.fork()
            if process.pid == 0:
                os.close(read)
                self._become(process.program, parent, write)
        except OSError:
            os.close(read)
            os.close(write)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(write)
        process.started_at = process.alive_at = time.monotonic()
        process.pipe = read
        self._selector.register(read, selectors.EVENT_READ, process)

    def _become(self, program: Program, parent: int, pipe: int) -> None:
        """Be the child: never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of us; the parent keeps the order
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
            self._selector.close()
            self._in_child()
            setproctitle(f"evothesis: {program.name}")

            os.set_blocking(pipe, False)

            def pulse() -> None:
                signal.alarm(STILL_SECONDS_MAX + ALONE_SECONDS)
                with suppress(BlockingIOError, BrokenPipeError):
                    os.write(pipe, b".")

            program.main(pulse)
            code = 0
        except EvothesisError as error:  # known, and told in words
            hint = {"hint": error.hint} if error.hint else {}
            log.error(  # noqa: TRY400 - the reason says it all
                "Process failed.", extra={"program": program.name, "reason": str(error)} | hint
            )
        except BaseException:  # the process ends here whatever happened; the parent sees the code
            log.exception("Process failed.", extra={"program": program.name})
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for process in self._processes():
            if not process.pid or os.waitpid(process.pid, os.WNOHANG) == (0, 0):
                continue
            now = time.monotonic()
            if now - process.started_at > HEALTHY_SECONDS:
                process.pause_seconds = RESTART_SECONDS_MIN
            if not self._stopping:
                log.warning(
                    "Process ended, starting it again.",
                    extra={
                        "program": process.program.name,
                        "pid": process.pid,
                        "pause_seconds": process.pause_seconds,
                    },
                )
            process.start_at = now + process.pause_seconds
            process.pause_seconds = min(process.pause_seconds * 2, RESTART_SECONDS_MAX)
            process.pid = 0
            self._forget_pipe(process)

    def _forget_pipe(self, process: _Process) -> None:
        if process.pipe >= 0:
            self._selector.unregister(process.pipe)
            os.close(process.pipe)
            process.pipe = -1

    def _stop_group(self, group: list[_Process], deadline: float) -> None:
        for number, until in ((signal.SIGTERM, deadline), (signal.SIGKILL, deadline + KILL_SECONDS_MAX)):
            for process in group:
                if process.pid:
                    os.kill(process.pid, number)
            while any(process.pid for process in group) and time.monotonic() < until:
                self._reap()
                time.sleep(0.01)


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens under anything else."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # noqa: FBT003 - the parent waits for nobody, systemd included
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state.encode())
