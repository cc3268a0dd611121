"""PostgreSQL of the system: nothing, or what is there, in; a role, a database and a way in without a password out.

The service users and root come through the socket, where the kernel says who they are: all are the role evothesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from evothesis.upkeep.setup.steps import Root, Step, command, running
from evothesis.upkeep.tune import Machine, rendered

AS_SUPERUSER = ("runuser", "-u", "postgres", "--", "psql", "--dbname=postgres")
OPTIONS = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
USERS = ("root", "evothesis-loader", "evothesis-export")
MARK = "# evothesis: by `evothesis init`"
WAY_IN = f"{MARK}\nlocal all evothesis peer map=evothesis\n"
NAMES = MARK + "\n" + "".join(f"evothesis {user} evothesis\n" for user in USERS)

ROLE = """
-- createdb: a restore drill makes a database of its own, and drops it
do $$ begin
  if not exists (select from pg_roles where rolname = 'evothesis') then create role evothesis login createdb; end if;
end $$;
-- doctor judges the disk by where the data lies
grant pg_read_all_settings to evothesis;
"""
DATABASE = "create database evothesis owner evothesis template template0 encoding 'UTF8';"
RESTART_FILE = Path("/etc/systemd/system/postgresql@.service.d/evothesis.conf")
RESTART = """\
# Debian lets a PostgreSQL that was killed lie, until somebody comes; it recovers by itself when it is started again.
[Service]
Restart=on-failure
RestartSec=1
"""
# before PostgreSQL 15 it is the superuser's, and a restore renames it
SCHEMA = "alter schema public owner to evothesis;"


class Server:
    """The system's server, asked through psql as its superuser."""

    def __init__(self, psql: Sequence[str] = AS_SUPERUSER) -> None:
        """`psql` is how it is started; where it connects to comes with it."""
        self._psql = [*psql, *OPTIONS]

    def ask(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL; what it prints. Raises EvothesisError."""
        return command(*self._psql, f"--dbname={database}", text=sql).strip()

    def steps(self) -> Iterator[Step]:
        """Make the role, the database and the way in."""
        if self.ask("select count(*) from pg_roles where rolname = 'evothesis'") == "0":
            yield Step("make   the role evothesis in PostgreSQL", lambda: self.ask(ROLE))
        if self.ask("select count(*) from pg_database where datname = 'evothesis'") == "0":
            yield Step("make   the database evothesis", self._make_database)
        texts = {Path(self.ask("show hba_file")): WAY_IN, Path(self.ask("show ident_file")): NAMES}
        missing = [path for path in texts if MARK not in path.read_text(encoding="utf-8")]
        for path in missing:
            yield Step(f"write  {path}: {texts[path].splitlines()[1]}", partial(_prepend, path, texts[path]))
        if missing:
            yield Step("run    select pg_reload_conf()", lambda: self.ask("select pg_reload_conf()"))

    def _make_database(self) -> None:
        self.ask(DATABASE)
        self.ask(SCHEMA, database="evothesis")

    def removal(self) -> Iterator[Step]:
        """Drop the database and the role; the way in leads nowhere then, and stays."""
        if self.ask("select count(*) from pg_database where datname = 'evothesis'") == "1":
            yield Step("drop   the database evothesis", lambda: self.ask("drop database evothesis with (force)"))
        if self.ask("select count(*) from pg_roles where rolname = 'evothesis'") == "1":
            yield Step("drop   the role evothesis", lambda: self.ask("drop role evothesis"))

    def tuned(self, machine: Machine) -> Iterator[Step]:
        """Settings for this machine, where Debian's folder for them is; PostgreSQL must start again for them."""
        folder = Path(self.ask("show config_file")).parent / "conf.d"
        if folder.is_dir():
            here = Root(Path("/"))
            written = [*here.write(RESTART_FILE, RESTART), *here.write(folder / "evothesis.conf", rendered(machine))]
            yield from written
            if written:
                yield running("systemctl", "daemon-reload")
                yield running("systemctl", "restart", "postgresql")


def _prepend(path: Path, text: str) -> None:
    """Put lines first, where they are found before others; the file keeps its owner and its mode."""
    path.write_text(text + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
