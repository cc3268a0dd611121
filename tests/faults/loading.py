"""Loading: a loader that runs beside the test, and what it says about itself."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from evothesis import heartbeat
from evothesis.loader.run import NOT_REACHED, Loader
from tests.appliance import eventually
from tests.fix_world import World

END_SECONDS_MAX = 30


class Loading:
    """A loader of a world's spool into the database at `dsn`, for as long as the `with` lasts."""

    def __init__(self, world: World, dsn: str) -> None:
        """It does not run yet."""
        self._world = world
        self._stop = threading.Event()
        self._loader = Loader(dsn, world.settings, self._stop, lambda: None)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(END_SECONDS_MAX)
        assert not self._thread.is_alive(), f"the loader does not end within {END_SECONDS_MAX} s"
        if self._error and not error:
            raise self._error

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    @property
    def troubles(self) -> tuple[str | None, str | None]:
        """What the heartbeat says about the database and about the spool."""
        beat = heartbeat.read(self._world.spool)
        return (beat.database_error, beat.spool_error) if beat else (None, None)

    def wait_for_trouble(self) -> None:
        """Return when the database has refused or failed."""
        eventually(lambda: self.troubles[0] not in (None, NOT_REACHED))

    def wait_until_drained(self, timeout: float = 15) -> None:
        """Return when nothing waits in the spool."""
        eventually(lambda: not list(self._world.spool.glob("*/*.sealed")), timeout=timeout)

    def _run(self) -> None:
        try:
            self._loader.run()
        except Exception as error:  # noqa: BLE001 - raised where the test sees it
            self._error = error
