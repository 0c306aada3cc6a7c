"""The alert rules and the dashboard of config/: promtool reads every expression, and each figure that they name is one
that the server has, with the labels that it has.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from sekisho.metrics.families import FAMILIES, Kind

ROOT = Path(__file__).parent.parent
RULES = ROOT / "config" / "prometheus" / "alerts.yml"
BOARD = json.loads((ROOT / "config" / "grafana" / "sekisho.json").read_text())
PANELS: list[dict[str, Any]] = BOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
OF_PROMETHEUS = {"job", "instance", "le"}


def figures() -> dict[str, set[str]]:
    """The names that a page of figures has, and the labels of each."""
    found: dict[str, set[str]] = {}
    for one in FAMILIES:
        ends = ("_bucket", "_sum", "_count") if one.kind is Kind.HISTOGRAM else ("",)
        found.update({one.name + end: {*one.labels, *OF_PROMETHEUS} for end in ends})
    return found


def promtool(*arguments: str | Path) -> str:
    """What it says; fails the test if it finds a fault."""
    program = shutil.which("promtool")
    assert program, "Debian's prometheus is not installed: make system"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_text() -> str:
    return re.sub(r"^\s*(#|summary:|description:).*$", "", RULES.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("text", [rules_text(), *EXPRESSIONS], ids=lambda text: text[:40])
def test_every_figure_that_is_named_is_one_of_the_servers_with_its_labels(text: str) -> None:
    named = re.findall(r"(?<![\w:])(sekisho_[a-z_]+)(\{[^}]*\})?", text)
    assert named
    for name, labels in named:
        assert name in figures()
        assert set(re.findall(r"(\w+)\s*=", labels)) <= figures()[name]
    if text in EXPRESSIONS:
        labels_ = {one for names in re.findall(r"by \(([^)]*)\)", text) for one in names.split(", ")}
        assert labels_ <= set().union(*(figures()[name] for name, _ in named))


def test_promtool_understands_the_rules_and_each_speaks_when_it_should() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("test", "rules", ROOT / "tests" / "alert_rules.yml")


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = (ROOT / "tests" / "alert_rules.yml").read_text()
    fires = set(re.findall(r'alertname="(\w+)"[^}]*\}\', value: 1', cases))
    fires |= set(re.findall(r"alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:\n", cases))
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert set(alerts) == fires
    assert len(alerts) == len(set(alerts))


def test_a_changed_threshold_is_noticed(tmp_path: Path) -> None:
    changed = RULES.read_text().replace("sekisho_clock_believed == 0", "sekisho_clock_believed == 1")
    assert changed != RULES.read_text()
    cases = (ROOT / "tests" / "alert_rules.yml").read_text().replace("../config/prometheus/", "")
    (tmp_path / "alerts.yml").write_text(changed)
    (tmp_path / "cases.yml").write_text(cases)
    with pytest.raises(AssertionError, match="SekishoClockNotBelieved"):
        promtool("test", "rules", tmp_path / "cases.yml")


def test_promtool_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    lines = ["groups: [{name: dashboard, rules: ["]
    for number, expression in enumerate(EXPRESSIONS):
        text = json.dumps(expression.replace("$__rate_interval", "5m"))
        lines.append(f"{{record: 'panel:{number}', expr: {text}}},")
    rules = tmp_path / "dashboard.yml"
    rules.write_text("\n".join([*lines, "]}]"]))
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", rules)


def test_no_panel_covers_another_and_all_ask_the_chosen_prometheus() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    for panel in PANELS:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "$datasource"
            assert all('job=~"$job", instance=~"$instance"' in target["expr"] for target in panel["targets"])


def test_the_documents_prometheus_loads_the_rules_and_asks_the_server(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (rule_file,) = re.findall(r"^  - (/\S+\.yml)$", text, re.MULTILINE)
    whole = tmp_path / "prometheus.yml"
    whole.write_text("".join(blocks).replace(rule_file, str(RULES)))
    assert re.search(r"1 rule files found.*rules found", promtool("check", "config", whole), re.DOTALL)
    (job,) = re.findall(r"job_name: (\w+)", text)
    assert f'up{{job="{job}"}}' in RULES.read_text()


def test_the_document_names_each_alert_beside_its_severity() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    for severity in ("page", "ticket"):
        (row,) = re.findall(rf"^\| {severity} \| (.*) \|$", text, re.MULTILINE)
        alerts = re.findall(rf"alert: (\w+)\n(?:(?!alert:).)*?severity: {severity}", RULES.read_text(), re.DOTALL)
        assert re.findall(r"`(\w+)`", row) == alerts
