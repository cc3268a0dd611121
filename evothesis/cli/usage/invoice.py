"""An invoice as a table, as JSON, as CSV, or as a page to print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from evothesis.cli.common import shown
from evothesis.cli.usage.form import COUNTS, described, new_table, print_csv, print_wide
from evothesis.cli.usage.page import manifests_of, page

COLUMNS = ("invoice", "line", "name", "received", *COUNTS, "quantity", "rate_per_thousand", "amount", "currency")


class InvoiceFormat(StrEnum):
    """How an invoice is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


def print_invoice(invoice: dict[str, Any], form: InvoiceFormat) -> None:
    """Print it, alone, on stdout."""
    if form is InvoiceFormat.JSON:
        print(json.dumps(invoice))
    elif form is InvoiceFormat.CSV:
        print_csv(COLUMNS, _csv_lines(invoice))
    elif form is InvoiceFormat.HTML:
        print(page(invoice), end="")
    else:
        _print_tables(invoice)


def _csv_lines(invoice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lines of money first, then those of sites, which have none: the column `amount` adds up to what is due."""
    head = {"currency": invoice["currency"]}
    for line in invoice["lines"]:
        fields = {name: line[name] for name in ("name", "rate_per_thousand", "amount")}
        yield head | fields | {"invoice": invoice["invoice"], "line": line["kind"], "quantity": line["events"]}
    for credit in invoice["credits"]:
        yield head | {
            "invoice": credit["invoice"],
            "line": "credit",
            "name": credit["reason"],
            "amount": credit["amount"],
        }
    for site in invoice["sites"]:
        counts = {name: site[name] for name in (*COUNTS, "received")}
        yield head | counts | {"invoice": invoice["invoice"], "line": "site", "name": site["site_id"]}


def _print_tables(invoice: dict[str, Any]) -> None:
    sites = new_table(f"Invoice {invoice['invoice']}, number {invoice['number']}", "site", "received", *COUNTS)
    for site in invoice["sites"]:
        sites.add_row(shown(site["site_id"]), site["received"], *(f"{site[name]:,}" for name in COUNTS))
    sites.add_section()
    sites.add_row("total", "", *(f"{invoice[name]:,}" for name in COUNTS), style="bold")
    print_wide(sites)
    money = new_table("", "line", invoice["currency"])
    for line in invoice["lines"]:
        money.add_row(shown(described(line)), line["amount"])
    for credit in invoice["credits"]:
        money.add_row(shown(f"credit, number {credit['number']}: {credit['reason']}"), credit["amount"])
    money.add_section()
    money.add_row("due", invoice["due"], style="bold")
    print_wide(money)
    for sentence in manifests_of(invoice):
        print(sentence)
