"""The command `evothesis export verify`, as an engineer has it: with a url, credentials, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance import ROOT
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import listed
from tests.exporter.test_verify import FORMATS, deliver
from tests.fix_s3 import S3, Bucket
from tests.processes import UNHEARD_PORT


def verified(url: str, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `evothesis export verify` as an engineer does: without configuration and database, in another folder."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("EVOTHESIS_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "evothesis", "export", "verify", url, *arguments],
        cwd=folder,
        env=known | {"PYTHONPATH": str(ROOT), "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_sound(exporting: Exporting, tmp_path: Path) -> None:
    """A sound bucket is sound, with the same totals in every format of output; nobody is asked but the bucket."""
    deliver(exporting)
    url = f"file:{exporting.appliance.bucket}"
    as_json = verified(url, "--totals", "--format", "json", folder=tmp_path)
    as_table = verified(url, "--totals", folder=tmp_path)

    assert (0, 0) == (as_json.returncode, as_table.returncode), as_json.stderr
    sites = {"=other.example": 6, "shop.example": 12}
    bots = {site: sum(r["is_bot"] for r in exporting.database.expected if r["site_id"] == site) for site in sites}
    assert {
        "ok": True,
        "manifests": 3,
        "files": 9,
        "rows": 18,
        "rows_by_site": sites,
        "problems": [],
        "extra": [],
        "totals": [
            {"site_id": site, "month": "2026-11", "rows": rows, "bots": bots[site], "billable": rows - bots[site]}
            for site, rows in sites.items()
        ],
    } == json.loads(as_json.stdout)
    assert "Sound: 3 manifests, 9 files, 18 rows." in as_table.stdout
    assert "" == as_json.stderr


def test_nothing_there(tmp_path: Path) -> None:
    """A url at which there is no manifest is a problem, not an empty success."""
    done = verified("file:nowhere", folder=tmp_path)

    assert 1 == done.returncode
    assert "is this the url of a destination?" in done.stdout


def test_bad_url(tmp_path: Path) -> None:
    """A path without file: is refused, with what to write."""
    done = verified("var/bucket", folder=tmp_path)

    assert 2 == done.returncode
    assert "file:var/bucket" in done.stderr


def test_configured(exporting: Exporting) -> None:
    """Without a url the only configured destination is checked; of several, one must be named."""
    deliver(exporting)
    only = exporting.appliance.cli("export", "verify")
    exporting.deliver_to(LOCAL, LOCAL | {"name": "second", "url": "file:var/second"})
    several = exporting.appliance.cli("export", "verify")

    assert (0, 2) == (only.returncode, several.returncode)
    assert "client, second" in several.stderr


@pytest.mark.parametrize("actions", [["s3:GetObject"], ["s3:GetObject", "s3:ListBucket"]], ids=["read", "list"])
def test_read_only(exporting: Exporting, s3: S3, bucket: Bucket, tmp_path: Path, actions: list[str]) -> None:
    """Credentials that may only read are enough, from the usual AWS variables; to list shows what is extra too."""
    deliver(exporting, bucket.destination(formats=FORMATS))
    bucket.put("events/extra", b"x")
    credentials = s3.new_credentials(bucket, actions)
    arguments = ("s3://" + bucket.name + "/some/prefix/", "--endpoint", s3.endpoint, "--format", "json")
    done = verified(*arguments, folder=tmp_path, **credentials)
    missing = listed(bucket.objects())[0]
    bucket.client.delete_object(Bucket=bucket.name, Key=f"some/prefix/{missing}")
    damaged = verified(*arguments, folder=tmp_path, **credentials)

    report = json.loads(done.stdout)
    assert (0, True, 3, 18, []) == (
        done.returncode,
        report["ok"],
        report["manifests"],
        report["rows"],
        report["problems"],
    )
    assert (["events/extra"] if "s3:ListBucket" in actions else None) == report["extra"]
    assert 1 == damaged.returncode
    assert [(missing, "missing")] == [(p["key"], p["kind"]) for p in json.loads(damaged.stdout)["problems"]]


def test_unreachable(tmp_path: Path) -> None:
    """A store that does not answer is worth another try: 3; one without credentials needs a person: 1."""
    arguments = ("s3://bucket", "--endpoint", f"http://127.0.0.1:{UNHEARD_PORT}")
    keys = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x" * 40}
    away = verified(*arguments, folder=tmp_path, **keys, AWS_MAX_ATTEMPTS="1")
    nobody = verified(*arguments, folder=tmp_path)

    assert (3, 1) == (away.returncode, nobody.returncode)
    assert "Try: " in away.stderr
    assert "there are no credentials" in nobody.stderr


def test_wrong_keys(bucket: Bucket, tmp_path: Path) -> None:
    """Credentials that are refused are not taken for an empty bucket."""
    keys = {"AWS_ACCESS_KEY_ID": bucket.access_key_id, "AWS_SECRET_ACCESS_KEY": "wrong" * 8}
    done = verified(f"s3://{bucket.name}", "--endpoint", bucket.endpoint, folder=tmp_path, **keys)

    assert 1 == done.returncode
    assert "SignatureDoesNotMatch" in done.stderr
