#!/usr/bin/env python3
"""Dashboard and alerts ask for metrics and labels that the agent has, and are what Grafana and Prometheus can read."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / os.environ.get("O", "build")
failed = passed = 0

# What PromQL itself brings, and what Prometheus adds to every series.
WORDS = {"sum", "rate", "increase", "by", "histogram_quantile", "or", "and", "vector", "deriv", "max_over_time", "up",
         "instance", "job", "le"}


def check(name, problems):
    global failed, passed
    passed, failed = passed + (not problems), failed + bool(problems)
    print(f"FAIL - {name}: {problems[:5]}" if problems else f"ok - {name}")


def exposition():
    return subprocess.run([BUILD / "tests/replay/metrics_of", HERE / "kong-3.9.1/cases.calls.jsonl.gz"], check=True,
                          capture_output=True, text=True).stdout


def exposed():
    """Names of series, and the labels and values that each has."""
    text = exposition()
    names, help_ = {}, re.findall(r"# TYPE (\S+) ", text)
    for name in help_:
        names.setdefault(name, {})
    for line in text.splitlines():
        match = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
        if match and not line.startswith("#"):
            labels = names.setdefault(match.group(1), {})
            for key, value in re.findall(r'(\w+)="([^"]*)"', match.group(2) or ""):
                labels.setdefault(key, set()).add(value)
    # A recording has no libraries.
    names["kongtap_tls_workers"] = {"library": None, "placement": {"inside", "entry_and_return", "none"}}
    return names


def ask(expression, names):
    problems = []
    if expression.count("(") != expression.count(")") or expression.count("{") != expression.count("}"):
        problems.append(f"brackets: {expression}")
    for series, labels in re.findall(r"\b((?:kongtap|process)_\w+)(?:\{([^}]*)\})?", expression):
        if series not in names:
            problems.append(f"no metric {series}")
            continue
        for key, how, value in re.findall(r'(\w+)(=~|=|!=)"([^"]*)"', labels):
            known = names[series].get(key)
            if key in ("instance", "job"):
                continue
            if key not in names[series]:
                problems.append(f"{series} has no label {key}")
            elif known and how == "=" and value not in known:
                problems.append(f"{series}: {key} is never {value}")
            elif known and how == "=~" and not any(re.fullmatch(value, one) for one in known):
                problems.append(f"{series}: {key} never matches {value}")
    plain = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", expression)
    labels = {key for found in names.values() for key in found}
    for word in re.findall(r"[A-Za-z_]\w*", plain):
        if word not in WORDS and word not in names and word not in labels:
            problems.append(f"unknown word {word} in {expression}")
    return problems


def promtool(what, *argv, text=None):
    """What promtool finds is a failure, a mere remark of its linter too."""
    done = subprocess.run(["promtool", *argv], cwd=ROOT / "deploy/prometheus", input=text, capture_output=True, text=True)
    check(f"promtool {what}", [done.stdout + done.stderr] if done.returncode or (text and done.stderr.strip()) else [])


def as_rules(panels):
    """The dashboard's expressions as a file of rules, which is what promtool parses; Grafana's variables with values in place."""
    values = {"$__rate_interval": "5m", "$__range": "1h", "$instance": ".*"}
    rules = []
    for panel in panels:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in values.items():
                expression = expression.replace(name, value)
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": expression})
    return yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})


def with_promtool(alerts, panels):
    if not shutil.which("promtool"):
        print("skip - metrics, alerts and scrape configuration as Prometheus reads them: no promtool here")
        return
    promtool("check metrics", "check", "metrics", text=exposition())
    promtool("check rules", "check", "rules", "alerts.yml")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(as_rules(panels))
        file.flush()
        promtool("check rules: every expression of the dashboard", "check", "rules", file.name)
    promtool("test rules", "test", "rules", "alerts_test.yml")
    tests = yaml.safe_load((ROOT / "deploy/prometheus/alerts_test.yml").read_text())["tests"]
    expected = [(rule["alertname"], bool(rule.get("exp_alerts"))) for test in tests for rule in test["alert_rule_test"]]
    check("each alert has a test in which it fires and one in which it is quiet",
          [alert for alert in alerts if not {(alert, True), (alert, False)} <= set(expected)])
    # Debian builds Prometheus without Kubernetes' discovery, so its promtool does not know that one key.
    scrape = yaml.safe_load((ROOT / "deploy/prometheus/scrape.yml").read_text())
    for job in scrape["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["192.0.2.1:9464"]}]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump(scrape, file)
        file.flush()
        promtool("check config", "check", "config", "--syntax-only", file.name)


def main():
    names = exposed()
    dashboard = json.loads((ROOT / "deploy/grafana/kongtap.json").read_text())
    panels = dashboard["panels"]
    check("panels have numbers of their own", [p["id"] for p in panels if [q["id"] for q in panels].count(p["id"]) > 1])
    taken = [(x, y) for p in panels for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
             for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])]
    check("panels do not lie on each other, nor beside the screen", [at for at in set(taken) if taken.count(at) > 1 or at[0] > 23])
    for panel in panels:
        for target in panel.get("targets", []):
            check(f"dashboard: {panel['title']} {target['refId']}", ask(target["expr"], names))
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    rules = re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - alert:|\Z)", alerts, re.S)
    for name, body in rules:
        match = re.search(r"expr: (?:>-\n((?:          .*\n)+)|(.*)\n)", body)
        check(f"alert {name}", ask(" ".join((match.group(1) or match.group(2)).split()), names)
              + [what for what in ("severity:", "summary:", "description:", "for:") if what not in body])
    page = (ROOT / "docs/MONITORING.md").read_text()
    check("docs/MONITORING.md names metrics that there are", [
        word for name, labels in re.findall(r"`((?:kongtap|process)_[a-z0-9_]+)(?:\{([a-z,]+)\})?`", page)
        for word in ([] if name in names else [name])
        + [f"{name}{{{label}}}" for label in filter(None, labels.split(",")) if label not in names.get(name, {})]])
    with_promtool([name for name, _ in rules], panels)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
