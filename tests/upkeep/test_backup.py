"""Backup and restore: a database is lost, and is there again, to the last event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pyrage import x25519  # type: ignore[import-untyped]  # it has no stubs

from evothesis import pg
from evothesis.configuration import load
from evothesis.exporter.decode import sha256_of
from evothesis.upkeep import archive, content
from evothesis.upkeep.backup import take
from tests.appliance import Appliance
from tests.fix_appliance import MakeAppliance
from tests.fix_postgres import DebianPostgres
from tests.fix_s3 import Bucket
from tests.fix_world import World, entry, event

NOW = datetime(2026, 11, 25, 3, 20, tzinfo=UTC)
DUMP_MAGIC = b"PGDMP"


@pytest.fixture
def operator(world: World, make_appliance: MakeAppliance) -> Appliance:
    """What an operator may type on an appliance with five events; nothing is served."""
    fill(world, range(5))
    return make_appliance({"database": {"url": world.database}, "spool": {"path": str(world.spool)}}, start=False)


def fill(world: World, numbers: range) -> None:
    """Load events, a segment each."""
    for number in numbers:
        world.put(entry(event(number)))
    world.load()


def numbers(world: World) -> list[int]:
    """The stored events."""
    return sorted(number for number, _ in world.stored())


def restored(appliance: Appliance, *arguments: str) -> tuple[int, Any]:
    """The exit code of a restore, and what it says, else its error."""
    done = appliance.cli("restore", *arguments, "--format", "json")
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def dump_of(appliance: Appliance) -> Path:
    """The dump of the one backup."""
    (dump,) = (appliance.folder / "var/backup").glob(f"*/{archive.DUMP}")
    return dump


def actions(world: World) -> list[str]:
    """What was recorded."""
    return [row["action"] for row in world.rows("select action from audit_log order by audit_id")]


def test_drill(operator: Appliance, world: World) -> None:
    """A backup can be restored into a scratch database, which goes again; both are on record."""
    taken = operator.json("backup")

    code, drill = restored(operator, "--drill")

    assert (0, True, []) == (code, drill["ok"], drill["problems"])
    assert (5, taken["name"]) == (drill["rows"]["events_log"], drill["name"])
    assert ["backup", "restore drill"] == actions(world)
    assert [] == world.rows("select datname from pg_database where datname like 'evothesis_drill%'")
    assert 0o600 == dump_of(operator).stat().st_mode & 0o777


def test_restore_then_continue(operator: Appliance, world: World) -> None:
    """What came after the backup is loaded again from the kept segments, once, and billed once."""
    operator.json("backup")
    fill(world, range(5, 9))

    refused, error = restored(operator)
    code, done = restored(operator, "--overwrite")
    between = numbers(world)
    world.load()

    assert (1, True, True) == (refused, "the database holds 9 events" in error, "--overwrite" in error)
    assert (0, []) == (code, done["problems"])
    assert ([0, 1, 2, 3, 4], list(range(9))) == (between, numbers(world))
    with pg.connect(world.database, name="test") as connection:
        assert [] == content.problems(connection)
        kept = sql.SQL("select count(*) as events from {}").format(sql.Identifier(done["kept"], "events_log"))
        assert {"events": 9} == pg.one(connection, kept)


@pytest.mark.long
def test_restore_elsewhere(make_appliance: MakeAppliance, debian_postgres: DebianPostgres) -> None:
    """A backup of another version of PostgreSQL than ours goes into an empty database, and into one just migrated."""
    first = make_appliance({"database": {"url": debian_postgres.new_database()}}, start=False)
    folder = {"path": str(first.folder / "var/backup")}
    assert 0 == first.cli("migrate").returncode
    first.json("backup")
    others = [
        make_appliance({"database": {"url": debian_postgres.new_database()}, "backup": folder}, start=False)
        for _ in range(2)
    ]
    assert 0 == others[1].cli("migrate").returncode

    outcomes = [restored(other) for other in others]

    assert [(0, True, None)] * 2 == [(code, done["ok"], done["kept"]) for code, done in outcomes]
    assert [0, 0] == [other.cli("migrate", "--check").returncode for other in others]


def test_damaged_dump(operator: Appliance, world: World) -> None:
    """A dump that is not what was written is not restored."""
    operator.json("backup")
    dump = dump_of(operator)
    dump.write_bytes(dump.read_bytes()[:-1])

    code, error = restored(operator, "--overwrite")

    assert (1, True) == (code, "is not what was backed up" in error)
    assert [0, 1, 2, 3, 4] == numbers(world)


@pytest.mark.long
def test_restore_fails(operator: Appliance, world: World) -> None:
    """When a dump cannot be restored the database is what it was."""
    operator.json("backup")
    dump = dump_of(operator)
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    listing = dump.with_name(archive.LISTING)
    backup = archive.Backup.read(listing.read_bytes())
    listing.write_bytes(backup._replace(files={archive.DUMP: sha256_of(dump).hex()}).text())

    code, error = restored(operator, "--overwrite")

    assert (1, True) == (code, "pg_restore failed: " in error)
    assert [0, 1, 2, 3, 4] == numbers(world)


def test_drill_compares(operator: Appliance, world: World) -> None:
    """A drill that finds other numbers fails, names them, and is no proof."""
    operator.json("backup")
    listing = dump_of(operator).with_name(archive.LISTING)
    backup = archive.Backup.read(listing.read_bytes())
    listing.write_bytes(backup._replace(rows=backup.rows | {"events_log": 6}).text())

    code, drill = restored(operator, "--drill")

    assert (1, ["events_log has 5 rows, and had 6"]) == (code, drill["problems"])
    assert ["backup"] == actions(world)


def test_in_use(operator: Appliance, world: World) -> None:
    """A database in use is not replaced."""
    operator.json("backup")
    with pg.connect(world.database, name="loader"):
        code, error = restored(operator, "--overwrite")

    assert (1, True) == (code, "the database is in use by `evothesis loader`" in error)


def test_keep(operator: Appliance, world: World) -> None:
    """So many backups stay, the newest; what a killed backup left behind goes."""
    config = load(operator.config_path, {"EVOTHESIS_BACKUP_KEEP": "2", "EVOTHESIS_BACKUP_PATH": str(operator.folder)})
    (operator.folder / "20260101T000000Z.unfinished").mkdir()
    with pg.connect(world.database, name="test") as connection:
        days = [NOW + timedelta(days=day) for day in range(3)]
        taken = [take(config, None, connection, world.database, day) for day in days]

    assert [[], [], [taken[0].name]] == [one.removed for one in taken]
    assert [taken[1].name, taken[2].name] == archive.local(operator.folder)
    assert [] == list(operator.folder.glob("*.unfinished"))


class Offsite:
    """An appliance whose backups go to a bucket too, and the file of the private key."""

    def __init__(self, world: World, bucket: Bucket, make_appliance: MakeAppliance, folder: Path) -> None:
        """The bucket's owner may list it."""
        key = x25519.Identity.generate()
        self.identity = folder / "identity.txt"
        self.identity.write_text(f"# public key: {key.to_public()}\n{key}\n")
        settings = {
            "database": {"url": world.database},
            "export": {"destination": [bucket.destination("own", **bucket.owner)]},
            "backup": {"bucket": "own", "recipient": str(key.to_public())},
        }
        self.appliance = make_appliance(settings, start=False)


@pytest.fixture
def offsite(world: World, bucket: Bucket, make_appliance: MakeAppliance, tmp_path: Path) -> Offsite:
    """Five events, nothing served."""
    fill(world, range(5))
    return Offsite(world, bucket, make_appliance, tmp_path)


def test_bucket(offsite: Offsite, bucket: Bucket, world: World) -> None:
    """From the bucket and the private key alone all is there again; nothing in the bucket can be read without."""
    signing_key = offsite.appliance.folder / "var/signing.key"
    assert 0 == offsite.appliance.cli("export").returncode
    taken = offsite.appliance.json("backup")
    objects = {name: body for name, body in bucket.objects().items() if name.startswith("backup/test/")}

    dump_of(offsite.appliance).unlink()
    with psycopg.connect(world.database) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    listed = offsite.appliance.json("restore", "--list", "--from-bucket")
    code, done = restored(offsite.appliance, "--from-bucket", "--identity", str(offsite.identity))

    names = ["backup.json", "configuration.tar.age.000", "database.dump.age.000"]
    assert [f"backup/test/{taken['name']}/{name}" for name in names] == sorted(objects)
    secrets = [DUMP_MAGIC, signing_key.read_bytes().splitlines()[1], bucket.owner["secret_access_key"].encode()]
    assert [] == [name for name, body in objects.items() for secret in secrets if secret in body]
    assert {"backups": [taken["name"]]} == listed
    assert (0, [], [0, 1, 2, 3, 4]) == (code, done["problems"], numbers(world))


@pytest.mark.long
def test_bucket_needs_keys(offsite: Offsite, tmp_path: Path) -> None:
    """Without the private key, or with another one, nothing is restored, and the error says what to name."""
    other = tmp_path / "other.txt"
    other.write_text(str(x25519.Identity.generate()))
    offsite.appliance.json("backup")

    without, said = restored(offsite.appliance, "--from-bucket", "--drill")
    wrong, said_of_wrong = restored(offsite.appliance, "--from-bucket", "--drill", "--identity", str(other))

    assert (2, True) == (without, "--identity" in said)
    assert (1, True) == (wrong, "cannot be decrypted" in said_of_wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bucket": "nowhere"}, "no [[export.destination]] has this name"),
        ({"bucket": "client"}, "backup.recipient is not set"),
        ({"bucket": "client", "recipient": "age1nonsense"}, "is no public key of age"),
    ],
    ids=["unknown", "in clear", "no key"],
)
def test_wrong_settings(make_appliance: MakeAppliance, database: str, settings: dict[str, str], message: str) -> None:
    """What leaves the machine has a place, and a key."""
    done = make_appliance({"database": {"url": database}, "backup": settings}, start=False).cli("backup")

    assert (2, True) == (done.returncode, message in done.stderr), done.stderr


def test_parts(tmp_path: Path) -> None:
    """A file too large for one object becomes parts, in order and without a gap."""
    parts = archive._Parts(tmp_path, "dump", bytes_max=4)
    for piece in (b"abc", b"", b"defghij", b"kl"):
        assert len(piece) == parts.write(piece)

    assert [("dump.000", b"abcd"), ("dump.001", b"efgh"), ("dump.002", b"ijkl")] == [
        (path.name, path.read_bytes()) for path in parts.close()
    ]
