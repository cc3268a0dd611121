"""`evothesis init`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from evothesis import credential, log
from evothesis.config import Config, Logging, Server
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.upkeep.setup.steps import Root, Step

TOKEN = Path("/etc/evothesis/secrets/serve/admin.token")


def command(  # noqa: PLR0913, PLR0917 - each is an option of the command
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="Answers as TOML; see docs/installing.md.")
    ] = None,
    instance: Annotated[str | None, typer.Option(help="The client's name, for keys and invoices.")] = None,
    host: Annotated[str | None, typer.Option(help="The name under which browsers reach this machine.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="A site whose events are taken; may be repeated.")] = None,
    bucket: Annotated[str | None, typer.Option(help="s3://bucket/prefix, or file:PATH.")] = None,
    region: Annotated[str | None, typer.Option(help="Of the bucket.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Of a store that is not Amazon's.")] = None,
    access_key_id: Annotated[str | None, typer.Option(help="Of the bucket.")] = None,
    secret_access_key_file: Annotated[Path | None, typer.Option(help="A file that holds the bucket's key.")] = None,
    encrypt_secrets: Annotated[
        bool, typer.Option("--encrypt-secrets", help="Encrypt secrets for this machine, with systemd-creds.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every change, make none.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove the services, keep the data.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="With --uninstall: remove them too.")] = False,
    root: Annotated[Path, typer.Option(metavar="DIR", help="Write into an image of a machine.")] = Path("/"),
) -> None:
    """Make of this machine a running appliance.

    Users, folders, secrets, configuration, PostgreSQL, services and timers; then each bucket is tried. What is there
    already stays as it is, so that it can be run again. Without answers it asks. Run it as root.

    \b
    Examples:
      evothesis init
      evothesis init --answers acme.toml --dry-run
      evothesis init --instance acme --host collect.example.com --bucket s3://acme-events/web
      evothesis init --encrypt-secrets
      evothesis init --uninstall
    """
    log.configure(Logging().format)
    if os.geteuid() != 0:
        message = "users, folders and services are root's to make"
        raise EvothesisError(message, hint="run it with sudo")
    place = Root(root.absolute())
    if purge and not uninstall:
        message = "--purge removes data, and goes with --uninstall"
        raise typer.BadParameter(message)
    if uninstall:
        from evothesis.upkeep.setup.run import removal

        _make(removal(place, purge=purge), dry_run=dry_run)
        print(
            "Users, and settings of PostgreSQL, stay." if purge else "Configuration, spool, backups and database stay."
        )
        return
    bucket_said = {
        "url": bucket,
        "region": region,
        "endpoint": endpoint,
        "access_key_id": access_key_id,
        "secret_access_key_file": str(secret_access_key_file) if secret_access_key_file else None,
    }
    from evothesis.upkeep.setup.run import CONFIG

    if place.of(CONFIG).exists():
        print(f"keep   {CONFIG}: what is said there counts")
        _install({}, place, encrypts=encrypt_secrets, dry_run=dry_run)
    else:
        said = _said(answers, instance=instance, host=host, sites=site, bucket=bucket_said)
        if encrypt_secrets:
            said["encrypt_secrets"] = True
        _install(said, place, encrypts=encrypt_secrets, dry_run=dry_run)


def _install(said: dict[str, Any], root: Root, *, encrypts: bool, dry_run: bool) -> None:
    from evothesis.upkeep.setup import run, secrecy, units
    from evothesis.upkeep.setup.answers import LOCAL_DATABASE, STATE, understood
    from evothesis.upkeep.setup.steps import running
    from evothesis.upkeep.tune import this_machine

    machine = this_machine(STATE)
    where = units.program(shutil.which("evothesis")) if root.is_machine else units.PROGRAM
    answers = understood(said, machine) if said else None
    config = run.read_back(root) if answers is None else answers.config
    if not root.is_machine and (encrypts or (answers and answers.encrypts)):
        message = "an image has no key of its own that secrets could be encrypted with"
        raise ConfigurationError(message, hint="on the machine that is made of it: evothesis init --encrypt-secrets")
    _make(run.users_and_folders(config, root), dry_run=dry_run)
    if answers:
        _make(run.configuration(answers, root), dry_run=dry_run)
    if root.is_machine and config.database.url == LOCAL_DATABASE:
        for _ in range(1 if dry_run else 2):  # what has to be installed first is set up then
            _make(run.postgresql(machine), dry_run=dry_run)
    _make(run.signing(config, root), dry_run=dry_run)
    _make(units.steps(config, root, where, run.folders(config)), dry_run=dry_run)
    if encrypts:  # after the units, which know where to look then
        _make(secrecy.encryption(root), dry_run=dry_run)
    if root.is_machine:
        # last: a machine that goes back a version has its units then, whose collector takes events all the same
        _make([running(where, "migrate", "--config", str(run.CONFIG))], dry_run=dry_run)
    if not dry_run:
        if root.is_machine:
            _try_buckets(run.read_back(root))
        _print_end(answers.host if answers else None, config.server)


def _try_buckets(config: Config) -> None:
    """Say of each whether it can be written and read; raises Exit when one cannot."""
    from evothesis.upkeep.doctor import bucket
    from evothesis.upkeep.finding import State

    findings = [finding for one in config.export.destination for finding in bucket(one, config.instance)]
    for finding in findings:
        print(f"{finding.state:<6} {finding.subject}: {finding.found}")
        if finding.todo:
            print(f"       → {finding.todo}; then run `evothesis doctor`")
    if any(finding.state is State.ACT for finding in findings):
        raise typer.Exit(1)


def _make(steps: Iterable[Step], *, dry_run: bool) -> None:
    """Say each step, and do it."""
    for step in list(steps):
        print(step.what, flush=True)
        if not dry_run:
            step.do()


def _said(
    path: Path | None,
    *,
    instance: str | None,
    host: str | None,
    sites: list[str] | None,
    bucket: dict[str, str | None],
) -> dict[str, Any]:
    """The file's answers, completed and overruled by what was typed."""
    said: dict[str, Any] = {}
    if path:
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"cannot read the answers {path}: {error}"
            raise ConfigurationError(message, hint="see docs/installing.md for an example") from error
    typed = {name: value for name, value in bucket.items() if value}
    ask = not path and sys.stdin.isatty()
    said["instance"] = instance or said.get("instance") or (typer.prompt("Name of the client") if ask else "")
    said["host"] = host or said.get("host") or (typer.prompt("Host name of the collector") if ask else "")
    if ask and not typed:
        typed = _asked_bucket()
    if sites:
        said.setdefault("limits", {})["sites"] = sites
    if typed:
        said.setdefault("export", {})["destination"] = [{"name": "client", **typed}]
    if not said.get("export", {}).get("destination"):
        message = "no bucket is given"
        raise ConfigurationError(message, hint="say where events go: --bucket s3://bucket/prefix")
    return said


def _asked_bucket() -> dict[str, str]:
    asked = {"url": typer.prompt("Bucket (s3://bucket/prefix, or file:PATH)")}
    if asked["url"].startswith("s3:"):
        asked["region"] = typer.prompt("Region", default="us-east-1")
        asked["endpoint"] = typer.prompt("Endpoint, if it is not Amazon's", default="")
        asked["access_key_id"] = typer.prompt("Access key id")
        asked["secret_access_key"] = typer.prompt("Secret access key", hide_input=True)
    return {name: value for name, value in asked.items() if value}


def _print_end(host: str | None, server: Server) -> None:
    if host:
        from evothesis.collector.script import Script

        script = Script.load(script_path=server.script_path, collect_path=server.collect_path)
        print(f"\nThe tag, for every page:\n\n  {script.plain_tag(f'https://{host}')}\n")
        print(f"With its hash, until an upgrade changes the script:\n\n  {script.tag(f'https://{host}')}\n")
    place = credential.place(TOKEN)
    where = f"what `{shlex.join(credential.decrypting(place))}` prints" if place.exists() else f"in {TOKEN}"
    print(f"The operator's token is {where}; `evothesis doctor` looks at everything.")
