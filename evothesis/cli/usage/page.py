"""An invoice as a page: one file without anything from elsewhere, made to be printed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from evothesis.cli.usage.form import COUNTS, described

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Invoice {invoice}</title>
<style>
@page {{ size: A4; margin: 20mm }}
body {{ font: 10pt/1.4 system-ui, sans-serif; max-width: 180mm; margin: 2em auto; color: #111 }}
h1 {{ font-size: 16pt; margin-bottom: 0 }}
table {{ width: 100%; border-collapse: collapse; margin: 1.5em 0; font-variant-numeric: tabular-nums }}
thead {{ display: table-header-group }}
tr {{ break-inside: avoid }}
th, td {{ text-align: right; padding: .25em .4em; border-bottom: 1px solid #ccc }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere }}
tr:last-child td {{ font-weight: bold; border: 0 }}
</style>
</head>
<body>
<h1>Invoice {invoice}</h1>
<p>Number {number}. Events received up to the end of {month}, UTC. Closed {closed_at}.</p>
{money}
{sites}
{checks}
</body>
</html>
"""
CHECK = "The bucket proves the numbers: evothesis export verify URL --totals counts the events of each site and month."


def page(invoice: dict[str, Any]) -> str:
    """The HTML; what strangers named stands in it as text."""
    lines = [[described(line), line["amount"]] for line in invoice["lines"]]
    lines += [
        [f"Credit, number {credit['number']}: {credit['reason']}", credit["amount"]] for credit in invoice["credits"]
    ]
    sites = [[site["site_id"], site["received"], *(f"{site[name]:,}" for name in COUNTS)] for site in invoice["sites"]]
    sites.append(["total", "", *(f"{invoice[name]:,}" for name in COUNTS)])
    sentences = [
        "Billed are stored events"
        + ("." if invoice["tariff"]["billable"] == "all" else ", without those of bots.")
        + " Duplicates, rejected and withheld events are not stored, and not billed.",
        CHECK,
        *manifests_of(invoice),
    ]
    return PAGE.format(
        **{name: escape(str(invoice[name])) for name in ("invoice", "number", "month")},
        closed_at=escape(invoice["closed_at"][:10]),
        money=_table(["", invoice["currency"]], [*lines, ["Due", invoice["due"]]]),
        sites=_table(["site", "received", *COUNTS], sites),
        checks="\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences),
    )


def manifests_of(invoice: dict[str, Any]) -> Iterator[str]:
    """Where the events lie, a sentence for each destination."""
    for part in invoice["manifests"]:
        found = f"manifests {part['first']} to {part['last']}" if part["first"] else "no manifest yet"
        yield f"{part['destination']}: {found}{'' if part['complete'] else '; not all is delivered yet'}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
