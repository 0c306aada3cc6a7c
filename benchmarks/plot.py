"""The comparison as one picture: logins a second and CPU for each, by the number of requests under way."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

_COLOURS = {
    "sekisho": "#b3261e",
    "sekisho-interpreted": "#e0958f",
    "freeradius-totp-debian": "#1d3f66",
    "freeradius-totp-stripped": "#3b6ea5",
    "freeradius-sqlite": "#7fb2d9",
    "pyrad": "#9a9a9a",
}
_MARKERS = {
    "sekisho": "o",
    "sekisho-interpreted": "P",
    "freeradius-totp-debian": "s",
    "freeradius-totp-stripped": "v",
    "freeradius-sqlite": "^",
    "pyrad": "D",
}
_LEGEND_COLUMNS = 3


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes a PNG of the `code` experiment."""
    summary = results["summary"]["experiments"]["code"]
    titles = {name: facts["title"] for name, facts in results["contenders"].items()}
    figure, (rates, costs) = plt.subplots(1, 2, figsize=(12.5, 5.4), dpi=130)
    _rates(rates, summary, titles)
    _costs(costs, summary, titles)
    handles, labels = rates.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=_LEGEND_COLUMNS, frameon=False)
    machine = results["machine"]
    figure.suptitle(
        f"One-time codes over RADIUS, load generator included, on {machine['cores']} cores of {machine['cpu']}; "
        f"medians of {results['settings']['rounds']} rounds, bars show the extremes",
        fontsize=10,
    )
    lines = -(-len(labels) // _LEGEND_COLUMNS)
    figure.tight_layout(rect=(0, 0.02 + 0.04 * lines, 1, 0.97))
    figure.savefig(path)
    plt.close(figure)


def _rates(axes: Axes, summary: dict[str, Any], titles: dict[str, str]) -> None:
    places = range(len(summary["levels"]))
    for name, cells in summary["contenders"].items():
        rates = [cells[str(level)]["rate"] for level in summary["levels"]]
        middle = [rate["median"] for rate in rates]
        below = [rate["median"] - rate["least"] for rate in rates]
        above = [rate["most"] - rate["median"] for rate in rates]
        axes.errorbar(
            list(places),
            middle,
            yerr=[below, above],
            label=titles[name],
            color=_COLOURS.get(name),
            marker=_MARKERS.get(name, "o"),
            capsize=3,
            linewidth=2.4 if name == "sekisho" else 1.6,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylabel("logins accepted per second (logarithmic)")
    _by_level(axes, summary)
    axes.grid(visible=True, axis="y", alpha=0.25)


def _costs(axes: Axes, summary: dict[str, Any], titles: dict[str, str]) -> None:
    names = list(summary["contenders"])
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        costs = [summary["contenders"][name][str(level)]["cpu_us"]["median"] for level in summary["levels"]]
        places = [place + (index - (len(names) - 1) / 2) * width for place in range(len(costs))]
        bars = axes.bar(places, costs, width * 0.92, color=_COLOURS.get(name), label=titles[name])
        axes.bar_label(bars, fmt="{:.0f}", fontsize=8, padding=1)
    axes.set_ylabel("CPU of the server, microseconds per login")
    _by_level(axes, summary)
    axes.grid(visible=True, axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _by_level(axes: Axes, summary: dict[str, Any]) -> None:
    axes.set_xticks(range(len(summary["levels"])), [str(level) for level in summary["levels"]])
    axes.set_xlabel("requests under way at once")
    axes.spines[["top", "right"]].set_visible(False)
