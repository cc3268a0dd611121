"""Bucket: a folder in, what a reader who trusts manifests only finds there out, and what is wrong with it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.oracle.stored import Stored, in_file


class Bucket:
    """A bucket, read once: its manifests in order, the rows of the files that they list, and the faults found."""

    def __init__(self, folder: Path) -> None:
        """Read everything."""
        self.folder = folder
        self.faults: list[str] = []
        self.rows: list[Stored] = []
        self.manifests: list[dict[str, Any]] = []
        self._ends: dict[int, int] = {}  # the last segment of each writer that was listed
        self._keys: set[str] = set()
        digest = None
        paths = sorted((folder / "manifests").glob("*.json"))
        self._expect("names of manifests", [f"{n:08d}.json" for n in range(1, len(paths) + 1)], [p.name for p in paths])
        for sequence, path in enumerate(paths, start=1):
            body = path.read_bytes()
            manifest = json.loads(body)
            self._expect(f"{path.name}: sequence", sequence, manifest["sequence"])
            self._expect(f"{path.name}: previous_sha256", digest, manifest["previous_sha256"])
            self._expect(f"{path.name}: version", 1, manifest["version"])
            digest = hashlib.sha256(body).hexdigest()
            self.manifests.append(manifest)
            self._check_signature(path.name, manifest)
            self._check_ranges(path.name, manifest)
            self._check_content(path.name, manifest)
        self._check_latest(digest)

    @property
    def listed_rows(self) -> int:
        """The sum over all manifests."""
        return sum(manifest["rows"] for manifest in self.manifests)

    def _expect(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self.faults.append(f"{self.folder.name}: {what}: expected {expected}, found {actual}")

    def _check_signature(self, name: str, manifest: dict[str, Any]) -> None:
        unsigned = {key: value for key, value in manifest.items() if key != "signature"}
        text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._expect(f"{name}: public_key", self.manifests[0]["public_key"], manifest["public_key"])
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(manifest["public_key"]))
            key.verify(base64.b64decode(manifest["signature"]), text.encode())
        except (InvalidSignature, ValueError) as error:
            self.faults.append(f"{self.folder.name}: {name}: signature: {error!r}")

    def _check_ranges(self, name: str, manifest: dict[str, Any]) -> None:
        for part in manifest["loads"]:
            follows = self._ends.get(part["writer"], -1) + 1
            self._expect(f"{name}: first segment of writer {part['writer']}", follows, part["first"])
            self._ends[part["writer"]] = part["last"]

    def _check_content(self, name: str, manifest: dict[str, Any]) -> None:
        rows = [row for file in manifest["files"] for row in self._rows_of(name, file)]
        sites = Counter(row.columns["siteId"] for row in rows)
        self._expect(f"{name}: rows", len(rows), manifest["rows"])
        self._expect(f"{name}: rows_by_site", dict(sites), manifest["rows_by_site"])
        ranges = [(part["writer"], part["first"], part["last"]) for part in manifest["loads"]]
        for writer, segment_no in {row.segment for row in rows}:
            if not any(writer == number and first <= segment_no <= last for number, first, last in ranges):
                self.faults.append(f"{self.folder.name}: {name}: segment {segment_no} of writer {writer} is not listed")
        self.rows += rows

    def _rows_of(self, name: str, file: dict[str, Any]) -> list[Stored]:
        key = file["key"]
        if key in self._keys:
            self.faults.append(f"{self.folder.name}: {name}: {key} was listed before")
        self._keys.add(key)
        path = self.folder / key
        if not path.is_file():
            self.faults.append(f"{self.folder.name}: {name}: {key} does not exist")
            return []
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self._expect(f"{key}: bytes", len(data), file["bytes"])
        self._expect(f"{key}: sha256", digest, file["sha256"])
        if digest != file["sha256"] or file["format"] != "parquet":
            return []
        rows = list(in_file(path, digest))
        self._expect(f"{key}: rows", len(rows), file["rows"])
        hours = {f"dt={row.created_at:%Y-%m-%d}/hr={row.created_at:%H}" for row in rows}
        self._expect(f"{key}: hours", {"/".join(Path(key).parts[-3:-1])}, hours)
        return rows

    def _check_latest(self, digest: str | None) -> None:
        if not self.manifests:
            return
        latest = json.loads((self.folder / "latest.json").read_bytes())
        expected = {"manifest": len(self.manifests), "sha256": digest, "rows": self.listed_rows}
        found = {"manifest": latest["manifest"], "sha256": latest["sha256"], "rows": latest["totals"]["rows"]}
        self._expect("latest.json", expected, found)
