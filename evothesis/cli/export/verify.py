"""`evothesis export verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evothesis import log
from evothesis.cli.common import ConfigPath, DestinationName, Format, FormatOption, progress, shown, start
from evothesis.config import Destination, Logging
from evothesis.setting import DESTINATION_URL

if TYPE_CHECKING:
    from evothesis.exporter.verify import Report

EXTRA_SHOWN_MAX = 20


def command(  # noqa: PLR0913, PLR0917 - each is an option of the command
    url: Annotated[
        str | None, typer.Argument(help="file:PATH or s3://BUCKET/PREFIX; without it, a configured destination.")
    ] = None,
    config: ConfigPath = None,
    destination: DestinationName = None,
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Of a store that speaks S3 and is not Amazon's.")] = "",
    public_key: Annotated[
        str | None, typer.Option(metavar="BASE64", help="Every manifest must be signed with it.", show_default=False)
    ] = None,
    totals: Annotated[bool, typer.Option("--totals", help="Print rows and bots of each site and month.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check everything in a bucket against its manifests.

    With a URL it needs neither configuration nor database: only to read, and to list if that is allowed, with the
    usual AWS credentials. Ends with 0 when all is there as it was delivered, with 1 when not.

    \b
    Examples:
      evothesis export verify s3://acme-events/web
      evothesis export verify file:var/bucket --totals
      evothesis export verify --destination client --format json
    """
    from evothesis.exporter.store import store
    from evothesis.exporter.verify import verify

    if url is None:
        chosen = _configured(config, destination)
    else:
        log.configure(Logging().format)
        if not DESTINATION_URL.match(url):
            message = f"{url} is no url of a destination: write file:{url}, or s3://bucket/prefix"
            raise typer.BadParameter(message)
        chosen = Destination(url=url, endpoint=endpoint, region="")
    with progress("reading") as advance:
        report = verify(store(chosen), advance, public_key=public_key)
    if form is Format.JSON:
        print(json.dumps(_as_json(report, with_totals=totals)))
    else:
        _print(report, with_totals=totals)
    raise typer.Exit(0 if report.ok else 1)


def _configured(config: ConfigPath, name: str | None) -> Destination:
    destinations = {destination.name: destination for destination in start(config).export.destination}
    if name is None and len(destinations) == 1:
        (name,) = destinations
    if name not in destinations:
        message = f"name one of the destinations with --destination: {', '.join(destinations)}"
        raise typer.BadParameter(message)
    return destinations[name]


def _as_json(report: Report, *, with_totals: bool) -> dict[str, Any]:
    fields = {name: getattr(report, name) for name in ("ok", "manifests", "files", "rows", "rows_by_site")}
    fields |= {"problems": [problem._asdict() for problem in report.problems], "extra": report.extra}
    if with_totals:
        lines = sorted(report.totals.items())
        fields["totals"] = [
            {"site_id": site, "month": month, **total._asdict(), "billable": total.billable}
            for (site, month), total in lines
        ]
    return fields


def _print(report: Report, *, with_totals: bool) -> None:
    if with_totals:
        table = Table("site", "month", "rows", "bots", "billable")
        for column in table.columns[2:]:
            column.justify = "right"
        for (site, month), total in sorted(report.totals.items()):
            numbers = (*total, total.billable)
            table.add_row(shown(site), month, *("?" if number is None else f"{number:,}" for number in numbers))
        Console().print(table)
    for problem in report.problems:
        print(f"{problem.kind:<10} {problem.key}: {problem.message}")
    for key in (report.extra or ())[:EXTRA_SHOWN_MAX]:
        print(f"extra      {key}: no manifest lists it; it is not part of the data, and does no harm")
    if len(report.extra or ()) > EXTRA_SHOWN_MAX:
        print(f"extra      {len(report.extra or ()) - EXTRA_SHOWN_MAX} more")
    if report.extra is None:
        print("Objects that no manifest lists were not looked for: these credentials may not list.")
    found = f"{report.manifests:,} manifests, {report.files:,} files, {report.rows:,} rows"
    print(f"{'Sound' if report.ok else 'Not sound'}: {found}.")
