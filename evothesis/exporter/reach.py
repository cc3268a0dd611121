"""Reach: a destination in, whether its credentials may read and write there out. Changes nothing that is there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from evothesis.config import Destination
from evothesis.errors import DeliveryError, UnreachableError
from evothesis.exporter.folder import Folder
from evothesis.exporter.prepare import GUIDE, README
from evothesis.exporter.store import store


def reach(destination: Destination, *, instance: str) -> DeliveryError | UnreachableError | None:
    """Try it; None when all is well, else what is not.

    An object is created that the first export creates too, or refused because it is there: with the same bytes, so that
    a store that overwrites does no harm either. A folder is only asked: an export may be writing to it.
    """
    try:
        target = store(destination)
        body = target.read(README) or GUIDE.format(instance=instance).encode()
        if isinstance(target, Folder):
            _demand_writable(Path(destination.url.removeprefix("file://").removeprefix("file:")))
        else:
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                target.create(README, Path(file.name), hashlib.sha256(body).digest())
    except (DeliveryError, UnreachableError) as error:
        return error
    return None


def _demand_writable(folder: Path) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        message = f"cannot write to {existing}"
        raise DeliveryError(message, hint="is it a folder, and may this user write to it?")
