"""Machine: files, disks, the clock, units and listeners in, findings out."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from cryptography import x509

from evothesis import credential, heartbeat
from evothesis.config import Config
from evothesis.configuration import FILE_SUFFIX, SECRET_FILES
from evothesis.setting import SECRETS
from evothesis.spool.segments import backlog, of_newer_version
from evothesis.upkeep.finding import Finding, act, note, ok

FREE_SHARE_LOW, FREE_SHARE_FULL = 0.2, 0.1
WAITING_SECONDS_LONG = 600
SPOOL_SHARE_HIGH = 0.7
ANSWER_SECONDS_MAX = 5
CERTIFICATE_DAYS_MIN = 14
CLOCK_SECONDS_MAX = 1.0
SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
UNITS = "evothesis-*"
UNITS_FOLDER = Path("/etc/systemd/system")
EXPOSURE = re.compile(r"exposure level for (\S+)\.service: ([0-9.]+)")
EXPOSURE_MAX = {"evothesis-collector": 1.0, "evothesis-loader": 0.5}  # as `systemd-analyze security` judges
JOB_EXPOSURE_MAX = 1.2


def secrets(config: Config, path: Path | None) -> Iterator[Finding]:
    """Who may read what only its owner should."""
    document = _document(path)
    inline = sorted({name for name, value in _settings(document) if name in SECRETS and value})
    plain = [Path(str(value)) for name, value in _settings(document) if name in SECRET_FILES]
    encrypted = [credential.place(file) for file in plain if not file.exists() and credential.place(file).exists()]
    plain = [file for file in plain if file.exists()]
    files = [*plain, *encrypted, *([config.export.signing_key_path] if config.export.signing_key_path.exists() else [])]
    if path and inline:
        files.append(path)
    for file in files:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            yield act("secrets", f"{file} can be read by others (mode {mode:o})", f"chmod 600 {file}")
    if path and inline:
        yield note(
            "secrets",
            f"{path} holds {', '.join(inline)}, which every service that reads it sees",
            f"put each into a file of its own, and name that: {inline[0]}{FILE_SUFFIX}",
        )
    also = f"; {len(encrypted)} of them encrypted" if encrypted else ""
    if not any(file.stat().st_mode & 0o077 for file in files):
        yield ok("secrets", f"{len(files)} files, readable for their owner alone{also}")
    if plain and encrypted:
        yield note("secrets", f"{plain[0]} is plain text, others are not", "evothesis init --encrypt-secrets")


def disks(config: Config) -> Iterator[Finding]:
    """How much room is left where something grows."""
    places = {"spool": config.spool.path}
    if config.database.is_embedded:
        places["database"] = config.database.path
    by_device: dict[int, list[str]] = {}
    for name, place in places.items():
        if not place.exists():
            yield note("disk", f"{place} is not there yet", f"the first `evothesis serve` makes it, for the {name}")
            continue
        by_device.setdefault(place.stat().st_dev, []).append(str(place))
    for folders in by_device.values():
        usage = shutil.disk_usage(folders[0])
        share = usage.free / usage.total
        found = f"{usage.free / 2**30:,.1f} GiB free, {share:.0%}, for {' and '.join(folders)}"
        if share < FREE_SHARE_FULL:
            yield act("disk", found, "make room, or let database.retention_days be fewer")
        elif share < FREE_SHARE_LOW:
            yield note("disk", found, "plan for a larger disk")
        else:
            yield ok("disk", found)


def spool(config: Config) -> Iterator[Finding]:
    """What waits for the database, and who brings it there."""
    waiting = backlog(config.spool.path)
    share = waiting.size_bytes / config.spool.bytes_max
    age = time.time() - waiting.waiting_since if waiting.waiting_since else 0
    found = f"{waiting.size_bytes:,} bytes wait, {share:.0%} of spool.bytes_max"
    if share > SPOOL_SHARE_HIGH:
        yield act("spool", found, "see why the loader does not keep up: /health of the operator's listener")
    elif age > WAITING_SECONDS_LONG:
        yield act("spool", f"{found}, for {age / 60:,.0f} minutes", "see what the loader says in the log")
    else:
        yield ok("spool", found)
    if newer := of_newer_version(config.spool.path):
        yield act(
            "spool",
            f"{newer[0].path} was written by a newer version, and {len(newer) - 1} others",
            "upgrade evothesis again, and it is loaded; nothing is lost meanwhile",
        )
    beat = heartbeat.read(config.spool.path)
    if beat is None or time.time() - beat.at > heartbeat.STALE_AFTER_SECONDS:
        yield act("loader", "it does not run", "start `evothesis serve`, or evothesis-loader.service")
    elif reason := beat.database_error or beat.spool_error:
        hint = None if beat.database_error else beat.spool_hint
        yield act("loader", reason, hint or "the log of the loader says more")
    else:
        yield ok("loader", f"seen {time.time() - beat.at:.0f} s ago")


def collector(config: Config) -> Finding:
    """Whether events are taken, asked as a load balancer asks."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.server.host, config.server.host)  # noqa: S104 - not bound
    where = f"{host}:{config.server.port}"
    connection = HTTPConnection(host, config.server.port, timeout=ANSWER_SECONDS_MAX)
    if config.server.tls_cert:
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE  # it is asked by address, from beside it
        connection = HTTPSConnection(host, config.server.port, timeout=ANSWER_SECONDS_MAX, context=unchecked)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        health = json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        return act(
            "collector", f"{where} does not answer: {error}", "start evothesis-collector.service, or see its log"
        )
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        return act("collector", f"{where} takes no events: {health}", "see docs/operating.md")
    return ok("collector", f"{where} takes events")


def certificate(config: Config) -> Iterator[Finding]:
    """How long the certificate of the collector is still good, where it has one itself."""
    if not config.server.tls_cert:
        return
    path = Path(config.server.tls_cert)
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        yield act("certificate", f"{path} cannot be read: {error}", "correct server.tls_cert")
        return
    found = f"{path} is good until {ends:%Y-%m-%d %H:%M} UTC"
    if ends - datetime.now(UTC) < timedelta(days=CERTIFICATE_DAYS_MIN):
        yield act("certificate", found, "renew it, then restart evothesis-collector.service")
    else:
        yield ok("certificate", found)


def clock() -> Finding:
    """Whether the kernel's clock is kept right by somebody, as adjtimex(2) tells."""
    buffer = (ctypes.c_long * 32)()  # struct timex: modes, offset, freq, maxerror, …; zeros: a look
    code = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(buffer))
    maximum_seconds = buffer[3] / 1e6
    if code < 0:
        return note("clock", f"it cannot be asked: {os.strerror(ctypes.get_errno())}")
    if code == _TIME_ERROR:
        return note("clock", "nobody keeps it right, as far as this kernel knows", "apt-get install chrony")
    if maximum_seconds > CLOCK_SECONDS_MAX:
        return note("clock", f"it may be wrong by {maximum_seconds:.1f} s", "see `chronyc tracking`")
    return ok("clock", f"right within {maximum_seconds * 1000:.0f} ms")


_TIME_ERROR = 5


def units() -> Iterator[Finding]:
    """What systemd says of our units, where it is in charge."""
    if not SYSTEMD.exists():
        return
    fields = "--property=Id,ActiveState,UnitFileState,Result"
    patterns = [f"{UNITS}.{kind}" for kind in ("service", "timer", "socket", "path")]
    command = ["systemctl", "show", "--all", fields, *patterns]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    shown = [dict(line.split("=", 1) for line in part.splitlines()) for part in answer.split("\n\n") if part.strip()]
    failed = [unit["Id"] for unit in shown if unit["ActiveState"] == "failed"]
    for name in failed:
        yield act("units", f"{name} failed", f"journalctl -n 50 -u {name}")
    if not shown:
        yield note("units", "none is installed", "`evothesis init` installs them")
    elif not failed:
        yield ok("units", f"{len(shown)} units, none failed")


def exposure() -> Iterator[Finding]:
    """How far each service lies open as it is set up here, of 10, where systemd is in charge; drop-ins count."""
    services = sorted(path.stem for path in UNITS_FOLDER.glob(f"{UNITS}.service"))
    if not SYSTEMD.exists() or not services:
        return
    command = ["systemd-analyze", "security", "--no-pager", *(f"{name}.service" for name in services)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    levels = {name: float(level) for name, level in EXPOSURE.findall(said)}
    wide = {name: level for name, level in levels.items() if level > EXPOSURE_MAX.get(name, JOB_EXPOSURE_MAX)}
    for name, level in wide.items():
        yield note("exposure", f"{name} has {level}, more than it needs", f"see its drop-ins: systemctl cat {name}")
    if not wide:
        yield ok("exposure", ", ".join(f"{name.removeprefix('evothesis-')} {levels[name]}" for name in levels))


def _document(path: Path | None) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path else {}


def _settings(part: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - any TOML value
    """Every key with its value, however deep."""
    for name, value in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(value, dict | list):
            yield from _settings(value)
        else:
            yield str(name), value
