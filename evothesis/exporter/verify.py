"""Verify: a bucket in, what is wrong with it out. Needs to read, and to list if it can; nothing of it is believed.

One fault is one problem: an edited manifest does not make its successor wrong too.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from evothesis.errors import DeliveryError
from evothesis.exporter import manifest
from evothesis.exporter.decode import Counted, count
from evothesis.exporter.listed import File, Latest, Manifest, Range
from evothesis.exporter.store import Store

EVENTS = "events/"
MANIFESTS = "manifests/"
GAP_MAX = 3  # missing manifests in a row after which the chain is over, for credentials that may not list

Progress = Callable[[int, int], None]  # files done, files to do


class Problem(NamedTuple):
    """What is wrong with an object: missing, changed, swapped, rows, forged, broken or unreadable."""

    key: str
    kind: str
    message: str


class Total(NamedTuple):
    """The events of a site and month, and how many of them are bots; None: some file does not tell."""

    rows: int
    bots: int | None

    @property
    def billable(self) -> int | None:
        """What the bill counts."""
        return None if self.bots is None else self.rows - self.bots

    def plus(self, rows: int, bots: int | None) -> Total:
        """With those of another file."""
        return Total(self.rows + rows, None if self.bots is None or bots is None else self.bots + bots)


class Report(NamedTuple):
    """What was found."""

    manifests: int
    files: int
    rows: int
    rows_by_site: dict[str, int]
    totals: dict[tuple[str, str], Total]  # by site and month
    problems: list[Problem]
    extra: list[str] | None  # objects below events/ that no manifest lists; None: these credentials may not list

    @property
    def ok(self) -> bool:
        """Whether everything that is promised is there, as it was delivered."""
        return not self.problems


class _Link(NamedTuple):
    manifest: Manifest
    key: str
    sha256: str


def verify(store: Store, progress: Progress, *, public_key: str | None = None) -> Report:
    """Read everything. Raises UnreachableError, and DeliveryError when nothing can be read at all."""
    return _Verification(store, public_key).report(progress)


class _Verification:
    def __init__(self, store: Store, public_key: str | None) -> None:
        self._store = store
        self._public_key = public_key
        self._problems: list[Problem] = []
        self._chain: list[_Link] = []
        self._newest = 0  # of all that are there, also of those that are not to be trusted
        self._ends: dict[int, int] = {}  # of each writer, the last segment that was listed
        self._counted: dict[tuple[Range, ...], Counted] = {}  # of each chunk, what its first file holds
        self._totals: dict[tuple[str, str], Total] = {}

    def report(self, progress: Progress) -> Report:
        keys = self._store.keys(EVENTS)
        self._read_chain()
        self._check_latest()
        files = [(link, file) for link in self._chain for file in link.manifest.files]
        self._check_files(files, progress)
        listed = {file.key for _, file in files}
        rows: Counter[str] = Counter()
        for link in self._chain:
            rows.update(link.manifest.rows_by_site)
        return Report(
            manifests=len(self._chain),
            files=len(files),
            rows=sum(link.manifest.rows for link in self._chain),
            rows_by_site=dict(sorted(rows.items())),
            totals=self._totals,
            problems=self._problems,
            extra=None if keys is None else sorted(set(keys) - listed),
        )

    def _say(self, key: str, kind: str, message: str) -> None:
        self._problems.append(Problem(key, kind, message))

    def _read_chain(self) -> None:
        """All manifests by number; a problem for each that is missing, forged or out of place."""
        listed = self._store.keys(MANIFESTS)
        known = set(listed or ())
        last = max((int(key[len(MANIFESTS) : -5]) for key in known if _is_manifest(key)), default=0)
        before: str | None = None  # the digest of the manifest before; "" when that one is not to be trusted
        sequence = 1
        missing: list[str] = []
        while sequence <= last or (listed is None and len(missing) < GAP_MAX):
            key = manifest.key_of(sequence)
            body = self._store.read(key)
            if body is None:
                missing.append(key)
                before = ""
            else:
                for gone in missing:
                    self._say(gone, "missing", "the manifest is missing, and later ones are there")
                missing = []
                self._newest = sequence
                before = self._check_manifest(key, sequence, body, before)
            sequence += 1
        for gone in missing if listed is not None else ():
            self._say(gone, "missing", "it is listed and cannot be read")
        if not self._chain and not self._problems:
            self._say(manifest.key_of(1), "missing", "there is no manifest here: is this the url of a destination?")

    def _check_manifest(self, key: str, sequence: int, body: bytes, before: str | None) -> str:
        """Take a manifest into the chain if it is ours; returns its digest, "" when it is not."""
        try:
            document: Any = json.loads(body)
            read = msgspec.convert(document, Manifest)
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            self._say(key, "forged", f"this is no manifest: {error}")
            return ""
        expected_key = self._public_key or (self._chain[0].manifest.public_key if self._chain else read.public_key)
        if not manifest.is_authentic(document) or body != manifest.canonical(document):
            self._say(key, "forged", "the manifest was edited: its signature is not that of its content")
            return ""
        if read.public_key != expected_key:
            self._say(key, "forged", f"the manifest was signed with another key, {read.public_key}")
            return ""
        sha256 = hashlib.sha256(body).hexdigest()
        if read.sequence != sequence:
            self._say(key, "swapped", f"this is manifest {read.sequence}")
            return ""
        if before not in ("", read.previous_sha256):
            self._say(key, "broken", "it does not follow the manifest before it, which was replaced")
        if before == "":
            self._ends.clear()  # what the manifest before covered is not known
        self._check_loads(key, read)
        self._chain.append(_Link(read, key, sha256))
        return sha256

    def _check_loads(self, key: str, read: Manifest) -> None:
        """The ranges of a writer follow each other, from the first that this destination was given."""
        for part in read.loads:
            follows = self._ends.get(part.writer, part.first - 1) + 1
            if part.first != follows:
                message = f"segments of writer {part.writer} begin at {part.first}, not at {follows}"
                self._say(key, "broken", message)
            self._ends[part.writer] = part.last

    def _check_latest(self) -> None:
        """latest.json names the newest manifest; or the one before, in the moment between the two."""
        if not self._chain:
            return
        body = self._store.read(manifest.LATEST)
        try:
            latest = msgspec.json.decode(body or b"", type=Latest)
        except (ValueError, msgspec.ValidationError) as error:
            self._say(manifest.LATEST, "missing" if body is None else "unreadable", f"it names no manifest: {error}")
            return
        newest = self._newest
        if latest.manifest > newest:
            self._say(manifest.key_of(latest.manifest), "missing", "latest.json names this manifest, which is missing")
            return
        if latest.manifest < newest - 1:
            self._say(manifest.LATEST, "broken", f"it names manifest {latest.manifest}, the newest one is {newest}")
        for link in self._chain:
            if link.manifest.sequence == latest.manifest and link.sha256 != latest.sha256:
                self._say(manifest.LATEST, "broken", f"it names manifest {latest.manifest} by another SHA-256")
        through = [link.manifest for link in self._chain if link.manifest.sequence <= latest.manifest]
        if [part.sequence for part in through] == list(range(1, latest.manifest + 1)):
            files = [file for part in through for file in part.files]
            sums = {
                "rows": sum(part.rows for part in through),
                "files": len(files),
                "bytes": sum(f.bytes for f in files),
            }
            if latest.totals != sums:
                self._say(manifest.LATEST, "broken", f"its totals are {latest.totals}, those of the manifests {sums}")

    def _check_files(self, files: list[tuple[_Link, File]], progress: Progress) -> None:
        names = {file.sha256: file.key for _, file in files}
        seen: set[str] = set()
        with tempfile.TemporaryDirectory(prefix="evothesis-verify-") as folder:
            for done, (link, file) in enumerate(files):
                progress(done, len(files))
                if file.key in seen:
                    self._say(file.key, "broken", f"{link.key} lists it a second time")
                    continue
                seen.add(file.key)
                counted = self._check_file(file, names, Path(folder, "file"))
                if counted is None:
                    continue
                rows = sum(counted.rows.values())
                if rows != file.rows:
                    self._say(file.key, "rows", f"it has {rows} rows, {link.key} says {file.rows}")
                first = self._counted.setdefault(file.loads, counted)
                if first is counted:
                    self._add(counted, month=file.key.partition("dt=")[2][:7])
                elif first != counted:
                    self._say(file.key, "rows", "its rows by site are not those of the same events in another format")
            progress(len(files), len(files))
        for link in self._chain:
            self._check_rows(link)

    def _add(self, counted: Counted, month: str) -> None:
        for site, rows in counted.rows.items():
            bots = None if counted.bots is None else counted.bots[site]
            self._totals[site, month] = self._totals.get((site, month), Total(0, 0)).plus(rows, bots)

    def _check_file(self, file: File, names: dict[str, str], target: Path) -> Counted | None:
        """What is counted in a file, None when it is not the one that was delivered."""
        found = self._store.fetch(file.key, target)
        if found is None:
            self._say(file.key, "missing", "the file is missing, or these credentials may not read it")
            return None
        if found.hex() != file.sha256:
            other = names.get(found.hex())
            if other:
                self._say(file.key, "swapped", f"it holds the content of {other}")
            else:
                size = f"{target.stat().st_size} bytes of {file.bytes}"
                self._say(file.key, "changed", f"its SHA-256 is not the one that was delivered ({size})")
            return None
        if target.stat().st_size != file.bytes:
            self._say(file.key, "changed", f"it has {target.stat().st_size} bytes, not {file.bytes}")
        try:
            return count(target, file.format, file.counted_by)
        except DeliveryError as error:
            self._say(file.key, "unreadable", str(error))
            return None

    def _check_rows(self, link: _Link) -> None:
        """The rows by site that a manifest counts are those of its files."""
        listed = set(link.manifest.loads)
        chunks = {file.loads for file in link.manifest.files if set(file.loads) <= listed}
        if not all(chunk in self._counted for chunk in chunks):
            return  # a file of it was found wrong
        rows: Counter[str] = Counter()
        for chunk in chunks:
            rows.update(self._counted[chunk].rows)
        if (rows.total(), dict(rows)) != (link.manifest.rows, link.manifest.rows_by_site):
            self._say(link.key, "rows", f"its files have {rows.total()} rows, it counts {link.manifest.rows} by site")


def _is_manifest(key: str) -> bool:
    name = key.removeprefix(MANIFESTS)
    return name.endswith(".json") and name[:-5].isdigit()
