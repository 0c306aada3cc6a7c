"""Results as tables: on the terminal, and as Markdown to publish. Renders what summary.py found; judges nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, columns, rows of text; the first column is words, the others are figures."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    remark: str = ""


def tables(results: Data) -> Iterator[Table]:
    """Everything worth reading, in the order in which it should be read."""
    summary = results["summary"]["experiments"]
    if results["summary"]["targets"] or results["failed"]:
        yield _targets(results["summary"]["targets"], results["failed"])
    if "code" in summary:
        yield from _code(summary["code"], results["contenders"])
        yield _probes(results["experiments"]["code"]["probes"], results["contenders"])
    if "password" in summary:
        yield _password(summary["password"])
    if "scale" in summary:
        yield _scale(summary["scale"])
    yield Table(
        "Measured on",
        ("", ""),
        [(key.replace("_", " "), str(value)) for key, value in results["machine"].items()],
    )


def print_all(results: Data) -> None:
    console = Console()
    for table in tables(results):
        shown = RichTable(title=table.heading, title_justify="left", caption=table.remark or None)
        for place, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if place == 0 else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        console.print()


def markdown(results: Data) -> str:
    parts = [
        "# Measured",
        "",
        "Made by `python -m benchmarks.run`; medians, with the extremes of all runs in brackets.",
    ]
    for table in tables(results):
        parts += ["", f"## {table.heading}", "", _line(table.columns)]
        parts.append("|---|" + "---:|" * (len(table.columns) - 1))
        parts += [_line(row) for row in table.rows]
        if table.remark:
            parts += ["", table.remark]
    return "\n".join(parts) + "\n"


def _targets(targets: Sequence[Data], failed: Mapping[str, str]) -> Table:
    rows = [
        (
            target["promise"],
            target["measured"],
            target["wanted"],
            target["aim"],
            "met" if target["met"] else "MISSED",
        )
        for target in targets
    ]
    missing = " ".join(f"NOT MEASURED: {name}: {reason}" for name, reason in failed.items())
    return Table("Targets", ("promise", "measured", "wanted", "aim", ""), rows, missing)


def _code(summary: Data, contenders: Data) -> Iterator[Table]:
    levels = [str(level) for level in summary["levels"]]
    heads = [f"{level} under way" for level in levels]

    def rows(key: str, digits: int) -> list[list[str]]:
        return [
            [contenders[name]["title"], *(_range(cells[level][key], digits) for level in levels)]
            for name, cells in summary["contenders"].items()
        ]

    yield Table("Logins a second, code alone", ("", *heads), rows("rate", 0))
    yield Table("CPU of the server, microseconds a login", ("", *heads), rows("cpu_us", 0))
    yield Table("Latency, median, ms", ("", *heads), rows("p50_ms", 2))
    yield Table("Latency, 99th percentile, ms", ("", *heads), rows("p99_ms", 2))
    if summary["ratios"]:
        yield Table(
            "Sekisho's rate as a multiple of another's",
            ("", *heads),
            [
                [contenders[peer]["title"], *(_range(ratio[level]["rate"], 2) for level in levels)]
                for peer, ratio in summary["ratios"].items()
            ],
            "Each round's own ratio; the median of those.",
        )
    lost = [
        [
            contenders[name]["title"],
            str(sum(cell["not_accepted"] for cell in cells.values())),
            str(sum(cell["repeated"] for cell in cells.values())),
            contenders[name]["lacks"],
        ]
        for name, cells in summary["contenders"].items()
    ]
    yield Table("What the figures do not say", ("", "not accepted", "sent again", "what it does not do"), lost)
    setups = [[contenders[name]["title"], contenders[name]["setup"]] for name in summary["contenders"]]
    yield Table("How each was set up", ("", "set up for this comparison"), setups)


def _probes(probes: Data, contenders: Data) -> Table:
    asked = list(next(iter(probes.values())))
    rows = [[probe, *(answers[probe].removeprefix("Access-") for answers in probes.values())] for probe in asked]
    return Table(
        "What each was asked before it was measured",
        ("", *(contenders[name]["title"] for name in probes)),
        rows,
    )


def _password(summary: Data) -> Table:
    rows = [
        [
            name,
            _range(cell["rate"], 1),
            _share(cell["share"]),
            _range(cell["p50_ms"], 0),
            _range(cell["stream_p50_ms"], 1) if "stream_p50_ms" in cell else "",
            _range(cell["stream_p99_ms"], 1) if "stream_p99_ms" in cell else "",
        ]
        for name, cell in summary["cells"].items()
    ]
    columns = (
        "",
        "logins/s",
        "of the bare hash rate",
        "first answer, median ms",
        "stream: median, ms",
        "stream: p99, ms",
    )
    remark = (
        f"Between the runs this machine alone hashed {_range(summary['bare_rate'], 1)} passwords a second (argon2id, "
        f"19 MiB, t=2, p=1). The stream is {summary['stream_rate']:.0f} code logins a second on the same server."
    )
    return Table("Passwords checked by Sekisho itself", columns, rows, remark)


def _scale(summary: Data) -> Table:
    rows = [
        [
            f"{int(size):,}",
            f"{facts['token_import_s']:.1f}",
            f"{facts['customer_import_s']:.1f}",
            f"{facts['store_mib']:.0f}",
            f"{facts['ready_s']:.2f}",
            f"{facts['rss_ready_mib']:.0f}",
            f"{facts['rss_peak_mib']:.0f}",
            _range(facts["rate"], 0),
            _range(facts["cpu_us"], 0),
        ]
        for size, facts in summary["sizes"].items()
    ]
    columns = (
        *(
            "tokens",
            "import, s",
            "customers' import, s",
            "store, MiB",
            "ready, s",
            "memory, MiB",
            "peak, MiB",
        ),
        *("logins/s, 64 under way", "CPU, us a login"),
    )
    growth = "; ".join(f"{pair}: {_share(value)}" for pair, value in summary["growth"].items())
    return Table("Sekisho with more tokens", columns, rows, f"CPU of a login grows from {growth}." if growth else "")


def _range(values: Data, digits: int) -> str:
    """Median, and the extremes in brackets."""
    return f"{values['median']:,.{digits}f} ({values['least']:,.{digits}f}–{values['most']:,.{digits}f})"


def _share(values: Data) -> str:
    return f"{values['median']:.0%} ({values['least']:.0%}–{values['most']:.0%})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
