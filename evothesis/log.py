"""Logging: one formatter for people, one for programs.

Messages are past tense with a full stop; what they speak of follows as fields (`extra`).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

# attributes that every record has; whatever else it carries was given as a field
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """`09:00:00 INFO loader: Segment loaded. rows=12`, for a terminal and the journal."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; control characters in values are escaped, so that no value can forge a line."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        name = record.name.removeprefix("evothesis.")
        fields = "".join(f" {name}={json.dumps(value, default=str)}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname} {name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, its fields and, after a crash, the traceback."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**entry, **_fields(record)}, default=str)


def configure(form: str) -> None:
    """Log to stderr, so that stdout stays free for results. `form` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # one line with a stack trace for each malformed request would let anyone fill the disk
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("botocore").setLevel(logging.WARNING)
