"""Plot: results in, small SVG pictures for the documentation out; legible on light and on dark pages."""

from __future__ import annotations

import re
from io import StringIO
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.throughput import TITLES

INK = "#777778"  # a colour that nothing else has: it becomes the page's own
STYLE = """<style>:root { --ink: #24292f } @media (prefers-color-scheme: dark) { :root { --ink: #c9d1d9 } }</style>"""
OURS, LIMIT, OTHERS = "#2f81f7", "#8b949e", "#d29922"
COLOURS = {"evothesis": OURS, "limit": LIMIT}
PROCESSES = {"collector": OURS, "loader": OTHERS, "backend": LIMIT}
SETTINGS: Any = {  # matplotlib knows the type of each name
    "svg.fonttype": "none",
    "svg.hashsalt": "evothesis",  # the same result gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def bars(labels: list[str], values: list[float], colours: list[str], *, unit: str, errors: Any = None) -> str:  # noqa: ANN401 - two rows of numbers
    """Horizontal bars, the first on top, each with its number."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(7.2, 0.5 + 0.36 * len(labels)))
        axes = figure.subplots()
        drawn = axes.barh(labels, values, color=colours, height=0.62, xerr=errors, ecolor=INK, capsize=3)
        texts = [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in values]  # noqa: PLR2004 - where digits behind the point end
        axes.bar_label(drawn, texts, padding=6)
        axes.invert_yaxis()
        axes.set_xlabel(unit)
        axes.margins(x=0.14)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        written = StringIO()
        figure.savefig(written, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    picture = written.getvalue().replace(INK, f"var(--ink, {INK})")
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {STYLE}", picture, count=1)


def throughput(result: dict[str, Any]) -> str:
    """Events a second of each, with the least and the most of its rounds."""
    rates = {name: [run["events_per_second"] for run in runs] for name, runs in result["rounds"].items()}
    middles = [median(values) for values in rates.values()]
    below = [middle - min(values) for middle, values in zip(middles, rates.values(), strict=True)]
    above = [max(values) - middle for middle, values in zip(middles, rates.values(), strict=True)]
    labels = [TITLES[name].replace("`", "") for name in rates]
    colours = [COLOURS.get(name, OTHERS) for name in rates]
    return bars(labels, middles, colours, unit="events stored per second", errors=[below, above])


def stages(result: dict[str, Any]) -> str:
    """Microseconds of CPU of each step."""
    costs: dict[str, float] = result["costs"]
    colours = [PROCESSES[name.partition(":")[0]] for name in costs]
    return bars(list(costs), list(costs.values()), colours, unit="µs of CPU for one event")
