"""Setup of PostgreSQL: a bare server in; a role without great rights, its database, and a way in, out."""

from __future__ import annotations

import json

import psycopg
import pytest

from evothesis.upkeep.setup.postgres import Server
from tests.fix_appliance import MakeAppliance
from tests.fix_postgres import DebianPostgres


@pytest.fixture
def bare(own_postgres: DebianPostgres) -> tuple[DebianPostgres, Server]:
    """A server as Debian makes it: its superuser is postgres, and there is no role evothesis."""
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("create role postgres superuser login")
    with psycopg.connect(own_postgres.url("postgres"), user="postgres", autocommit=True) as connection:
        connection.execute("alter role evothesis rename to somebody")
    return own_postgres, Server(["psql", f"--host={own_postgres.folder}", "--username=postgres"])


def test_made_once(bare: tuple[DebianPostgres, Server]) -> None:
    """Role, database and way in are made; PostgreSQL understands them; again, there is nothing to do."""
    server = bare[1]
    for step in list(server.steps()):
        step.do()

    rules = "select count(*) from pg_hba_file_rules where error is not null or 'map=evothesis' = any(options)"
    role = "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'evothesis'"
    owner = "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding) from pg_database where datname = 'evothesis'"
    assert ["1", "f|t|f", "evothesis|UTF8"] == [server.ask(query) for query in (rules, role, owner)]
    assert [] == list(server.steps())


@pytest.mark.long
def test_role_suffices(bare: tuple[DebianPostgres, Server], make_appliance: MakeAppliance) -> None:
    """With the rights of this role everything works: migrations, a backup, a drill, a restore, the doctor."""
    postgres, server = bare
    for step in list(server.steps()):
        if step.what.startswith("make"):  # not the way in: these tests are nobody whom that server's machine knows
            step.do()
    appliance = make_appliance({"database": {"url": postgres.url("evothesis")}}, start=False)

    codes = [appliance.cli(*line.split()).returncode for line in ("migrate", "backup", "restore --drill", "restore")]
    findings = json.loads(appliance.cli("doctor", "--format", "json").stdout)["findings"]

    assert [0, 0, 0, 0] == codes
    assert ["note"] == [one["state"] for one in findings if one["subject"] == "forecast"]


@pytest.mark.long
def test_removed(bare: tuple[DebianPostgres, Server]) -> None:
    """Database and role can be taken back, once."""
    server = bare[1]
    for step in list(server.steps()):
        step.do()
    for step in list(server.removal()):
        step.do()

    assert [] == list(server.removal())
