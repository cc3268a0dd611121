"""Setup: answers in, the files of a machine out; it may be run again, looked at before, and taken back."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evothesis.configuration import load
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.upkeep.setup import units
from evothesis.upkeep.setup.answers import understood
from evothesis.upkeep.setup.render import rendered
from evothesis.upkeep.tune import GIGABYTE, Machine
from tests.appliance import ROOT

ANSWERS = """\
instance = "acme"
host = "collect.example.com"

[server]
port = 8100

[limits]
sites = ["shop.example.com", "*.example.org"]

[[export.destination]]
name = "client"
url = "file:/srv/events"

[[export.destination]]
name = "own"
url = "s3://bucket/web"
access_key_id = "key-id"
secret_access_key = "a secret of the bucket"
"""
SECRET = "a secret of the bucket"
QUESTIONS = [
    (b"Name of the client", "acme"),
    (b"Host name of the collector", "collect.example.com"),
    (b"or file:PATH)", "s3://bucket/web"),
    (b"Region", "eu-central-1"),
    (b"Endpoint", ""),
    (b"Access key id", "key-id"),
    (b"Secret access key", SECRET),
]
MACHINE = Machine(2 * GIGABYTE, 2, 40 * GIGABYTE)


class Image:
    """The files of a machine, in a folder."""

    def __init__(self, folder: Path) -> None:
        """It is bare."""
        self.root = folder / "image"
        self.answers = folder / "acme.toml"
        self.answers.write_text(ANSWERS)

    def init(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `evothesis init` on it."""
        command = [sys.executable, "-m", "evothesis", "init", "--root", str(self.root), *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def files(self) -> dict[str, tuple[str, int]]:
        """Every file, with its content and its mode."""
        found = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        return {
            str(path.relative_to(self.root)): (path.read_text(), path.stat().st_mode & 0o777)
            for path in found
            if path.name != ".pwd.lock"
        }


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """A bare machine."""
    return Image(tmp_path)


def test_whole_machine(image: Image) -> None:
    """All is made: users, folders, a configuration without a secret, units that start at boot; again, nothing is."""
    done = image.init("--answers", str(image.answers))
    made = image.files()
    again = image.init()

    assert (0, "") == (done.returncode, done.stderr)
    assert '<script async src="https://collect.example.com/tracking.js"></script>' in done.stdout
    passwd = made["etc/passwd"][0]
    assert {"evothesis-collector", "evothesis-loader", "evothesis-export"} <= {
        line.partition(":")[0] for line in passwd.splitlines()
    }
    assert [] == [name for name, (text, mode) in made.items() if SECRET in text and mode != 0o600]
    assert 0o600 == made["var/lib/evothesis/export/signing.key"][1]
    assert 0o640 == made["etc/evothesis/config.toml"][1]
    system = "etc/systemd/system"
    assert "ListenStream=127.0.0.1:8100\n" in made[f"{system}/evothesis-collector.socket"][0]
    assert "ReadWritePaths=/srv/events\n" in made[f"{system}/evothesis-export.service.d/folders.conf"][0]
    assert (image.root / system / "timers.target.wants/evothesis-export.timer").is_symlink()
    assert "reverse_proxy 127.0.0.1:8100" in made["etc/evothesis/Caddyfile"][0]
    assert (image.root / "srv/events").is_dir()
    assert (0, made) == (again.returncode, image.files())
    assert [] == [line for line in again.stdout.splitlines() if line.startswith(("write", "run", "make"))]


def test_configuration_works(image: Image) -> None:
    """What was written is what was answered, as root reads it, and as a service to which systemd hands its secrets."""
    image.init("--answers", str(image.answers))
    secrets = image.root / "etc/evothesis/secrets"
    handed = image.root / "handed"
    handed.mkdir()
    for file in (secrets / "serve").iterdir():
        (handed / f"serve_{file.name}").write_text(file.read_text())

    path = image.root / "etc/evothesis/config.toml"
    whole = load(path, {"CREDENTIALS_DIRECTORY": str(secrets / "export")})
    loader = load(path, {"CREDENTIALS_DIRECTORY": str(handed)}, secrets=["admin", "database"])
    collector = load(path, {}, secrets=[])

    assert [("client", ""), ("own", SECRET)] == [(one.name, one.secret_access_key) for one in whole.export.destination]
    assert ["", ""] == [one.secret_access_key for one in loader.export.destination]
    assert (True, True, "") == (bool(whole.admin.token), whole.admin == loader.admin, collector.admin.token)
    assert ("acme", 8100, ("shop.example.com", "*.example.org")) == (
        collector.instance,
        collector.server.port,
        collector.limits.sites,
    )


def test_dry_run(image: Image) -> None:
    """What would be done is said, and nothing is."""
    done = image.init("--answers", str(image.answers), "--dry-run")

    assert (0, False) == (done.returncode, image.root.exists())
    assert {"write", "run", "make"} == {line.split()[0] for line in done.stdout.splitlines()}
    assert SECRET not in done.stdout


def test_uninstall(image: Image) -> None:
    """Services go, data and settings stay; with --purge those go too."""
    image.init("--answers", str(image.answers))
    spool = image.root / "var/lib/evothesis/spool/event"
    spool.write_text("an event")

    image.init("--uninstall")
    kept = image.files()
    image.init("--uninstall", "--purge")

    assert [] == [name for name in kept if name.startswith("etc/systemd")]
    assert {"etc/evothesis/config.toml", "var/lib/evothesis/spool/event"} <= kept.keys()
    assert [] == [name for name in image.files() if "evothesis" in name]


@pytest.mark.long
def test_options(image: Image, tmp_path: Path) -> None:
    """A machine with one bucket needs no file of answers; the bucket's key comes from a file."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    bucket = ["--bucket", "s3://bucket/web", "--access-key-id", "key-id"]
    bucket += ["--secret-access-key-file", str(tmp_path / "key")]

    done = image.init("--instance", "acme", "--host", "Collect.Example.com", "--site", "shop.example.com", *bucket)

    assert 0 == done.returncode, done.stderr
    secret = image.files()["etc/evothesis/secrets/export/export.destination.client.secret_access_key"]
    assert (f"{SECRET}\n", 0o600) == secret


def test_asks(image: Image) -> None:
    """On a terminal it asks for what was not said; a key is not shown."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "evothesis", "init", "--root", str(image.root)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = b""
    with subprocess.Popen(command, env=environment, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        try:
            for question, answer in QUESTIONS:
                unread = b""
                # with the blank: what is typed before it is thrown away where a key is asked for
                while question not in unread or not unread.endswith(b": "):
                    unread += os.read(leader, 4096)
                said += unread
                os.write(leader, answer.encode() + b"\n")
            with suppress(OSError):  # the program has ended, and its terminal with it
                while part := os.read(leader, 4096):
                    said += part
            code = process.wait(30)
        finally:
            process.kill()
            os.close(leader)

    assert (0, True) == (code, b'integrity="sha384-' in said.partition(b"The tag, for every page")[2]), said
    assert SECRET.encode() not in said
    assert 'region = "eu-central-1"' in image.files()["etc/evothesis/config.toml"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('instance = "acme"', "no bucket is given"),
        (ANSWERS.replace("instance", "instant"), "no name is given for this appliance"),
        (ANSWERS.replace("collect.example.com", "https://collect"), "is no host name"),
        (ANSWERS.replace("sites", "sides"), "unknown key 'sides' in [limits]"),
        ("instance =", "cannot read the answers"),
    ],
    ids=["no bucket", "no instance", "no host", "unknown key", "no TOML"],
)
def test_wrong_answers(image: Image, text: str, message: str) -> None:
    """What is wrong with answers is said before anything is changed."""
    image.answers.write_text(text)

    done = image.init("--answers", str(image.answers))

    assert (2, True, False) == (done.returncode, message in done.stderr, image.root.exists()), done.stderr


def test_every_setting_can_be_answered() -> None:
    """Answers that say everything become a configuration that says it, with a comment where there is one."""
    example = (ROOT / "config.example.toml").read_text()
    document = tomllib.loads(example) | {"host": "collect.example.com"}
    del document["backup"]["bucket"], document["backup"]["recipient"]

    answers = understood(document, MACHINE)
    text = rendered(answers.document, example)

    assert tomllib.loads(text) == answers.document
    assert 'region = "us-east-1" # of the bucket\n' in text


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"port": 8100}, "https://c.example.com"),
        ({"tls_cert": "/c", "tls_key": "/k"}, "https://c.example.com:8000"),
        ({"tls_cert": "/c", "tls_key": "/k", "port": 443}, "https://c.example.com"),
    ],
    ids=["behind a proxy", "itself", "itself, at HTTPS's port"],
)
def test_public_url(server: dict[str, Any], expected: str) -> None:
    """Where browsers come to follows from the name, and from who speaks HTTPS."""
    answers = understood({"instance": "acme", "host": "c.example.com", "server": server}, MACHINE)

    assert expected == answers.config.server.public_url


def test_secrets_of_a_database() -> None:
    """A database elsewhere keeps its password in files, one for the loader and one for the commands."""
    url = "postgresql://user:password@db.example.com/events"
    said = {"instance": "acme", "host": "c.example.com", "database": {"url": url}}

    answers = understood(said, MACHINE)

    assert "url" not in answers.document["database"]
    assert 2 == list(answers.secrets.values()).count(url)


def test_missing_secret_file() -> None:
    """A file of a secret that is not there is a wrong answer."""
    said = {"instance": "acme", "host": "c.example.com", "admin": {"token_file": "/nowhere/token"}}

    with pytest.raises(ConfigurationError, match="/nowhere/token"):
        understood(said, MACHINE)


@pytest.mark.parametrize("place", [None, "/root/.local/bin/evothesis", "/home/anna/.local/bin/evothesis"])
def test_program_in_a_home(place: str | None) -> None:
    """Services see no homes: a command that lies in one is refused, with what to do."""
    with pytest.raises(EvothesisError) as raised:
        units.program(place)

    assert "pipx" in str(raised.value.hint)
    assert "/opt/bin/evothesis" == units.program("/opt/bin/evothesis")
