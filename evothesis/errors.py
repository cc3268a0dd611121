"""Every error a person may see.

    EvothesisError              exit code 1: a person is needed
    ├── ConfigurationError      exit code 2: the configuration or the command line is wrong
    ├── UnreachableError        exit code 3: a service did not answer, run again
    ├── MigrationError
    ├── SpoolError
    │   ├── SpoolFullError      the request is answered 503; the spool recovers by itself
    │   └── SpoolBrokenError    a sync failed: the process that saw it must end
    ├── LoadError
    ├── DeliveryError
    │   └── HistoryError        a bucket has what the database forgot; nothing may be planned
    └── InvoiceError

The docstring of a class is its default message.
"""

from __future__ import annotations


class EvothesisError(Exception):
    """Something failed."""

    exit_code = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        """Say what failed, on which object and why; `hint` says what to try."""
        super().__init__(message or self.__doc__)
        self.hint = hint


class ConfigurationError(EvothesisError):
    """The configuration is wrong."""

    exit_code = 2


class UnreachableError(EvothesisError):
    """A service did not answer."""

    exit_code = 3


class MigrationError(EvothesisError):
    """The schema of the database could not be brought up to date."""


class SpoolError(EvothesisError):
    """The spool cannot take events."""


class SpoolFullError(SpoolError):
    """The spool has no room for more events now."""


class SpoolBrokenError(SpoolError):
    """The spool could not make written events durable."""


class LoadError(EvothesisError):
    """A segment cannot be loaded."""


class DeliveryError(EvothesisError):
    """A file could not be delivered."""


class HistoryError(DeliveryError):
    """A bucket and the database disagree about what was delivered."""


class InvoiceError(EvothesisError):
    """An invoice cannot be made, or not be corrected like this."""
