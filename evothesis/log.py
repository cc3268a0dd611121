"""Logging: one formatter for people, one for programs.

Messages are past tense with a full stop; what they speak of follows as fields (`extra`). Whatever a value holds, it
cannot begin a line of its own or reach a terminal as a command.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

# attributes that every record has; whatever else it carries was given as a field
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class TextFormatter(logging.Formatter):
    """`09:00:00 INFO loader.run: Segment loaded. rows=12`, for a terminal and the journal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line in printable ASCII; a traceback follows indented."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        name = record.name.removeprefix("evothesis.")
        fields = "".join(f" {name}={json.dumps(value, default=str)}" for name, value in _fields(record).items())
        lines = [f"{time} {record.levelname} {name}: {_printable(record.getMessage())}{fields}"]
        if record.exc_info:
            lines += [f"  {_printable(line)}" for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, its fields and, after a crash, the traceback."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**_fields(record), **entry}, default=str)


class StderrHandler(logging.StreamHandler[TextIO]):
    """To what stderr is when a line is written: while a bar is shown, that is what writes above it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self.setStream(sys.stderr)
        super().emit(record)


def configure(form: str) -> None:
    """Log to stderr, so that stdout stays free for results. `form` is "text" or "json"."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # one line with a stack trace for each malformed request would let anyone fill the disk
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # that the database is away is the loader's to say, once


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(lambda match: json.dumps(match.group())[1:-1].replace("\x7f", "\\u007f"), text)
