#!/usr/bin/env python3
"""What the agent tells of itself while real calls pass: metrics that add up, health, and a status page that a browser shows
as it should, without ever getting in the way of capture."""
import copy
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from browser import Browser, find_chromium
from lib import ROOT, Agent, Checks, Collector, Gateway, Process, Workdir, client, read_jsonl, wait_for
from gateway import PORTS

APPLICATION_ID = "kongtap-test-application-id"
CALLS = int(os.environ.get("KONGTAP_TEST_OPS_CALLS", "1500"))
SHOTS = os.environ.get("KONGTAP_TEST_SCREENSHOTS")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fetch(port, path, accept=None, seconds=10):
    """Status, headers, text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept} if accept else {})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def samples(text):
    """Series to value."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            if name in found:
                raise RuntimeError(f"series {name} comes twice")
            found[name] = float(value)
    return found


def total(values, family, **labels):
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(value for name, value in values.items()
               if re.split("[{ ]", name)[0] == family and all(label in name for label in wanted))


def run_calls(gateway, directory, name, calls, *more):
    with client(gateway, directory / f"{name}.client.jsonl", "--calls", calls, *more) as traffic:
        if traffic.wait(300):
            raise RuntimeError(f"client: {traffic.stderr[-500:]}")


def metrics_of(port):
    while True:
        status, _, text = fetch(port, "/metrics")
        if status == 200:
            return samples(text)
        # Too many have asked in this second.
        time.sleep(0.2)


def settled(port, events):
    wait_for(lambda: total(metrics_of(port), "kongtap_transactions_total", outcome="event") >= events, 20, "the events")
    # Levels are copied once a second.
    time.sleep(1.2)
    return metrics_of(port)


def numbers_add_up(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port = free_port()
        with Collector(directory / "collector.jsonl", "--app-id", APPLICATION_ID) as collector, \
                Agent("--application-id", APPLICATION_ID, "--api-endpoint", collector.url, "--prefix", gateway.prefix,
                      "--metrics-listen", f"127.0.0.1:{port}") as agent:
            agent.wait_ready()
            t.equal("healthz", fetch(port, "/healthz")[::2], (200, "ok\n"))
            t.equal("readyz", fetch(port, "/readyz")[::2], (200, "ready, watching 2 workers\n"))
            run_calls(gateway, directory, "calls", CALLS)
            values = settled(port, CALLS)
            wait_for(lambda: len(collector.events()) >= CALLS, 20, "delivery")
            values = metrics_of(port)
            outcomes = total(values, "kongtap_transactions_total")
            t.equal("calls seen are accounted for", outcomes, values["kongtap_transactions_seen_total"])
            t.equal("calls by method and status are the events", total(values, "kongtap_calls_total"), float(CALLS))
            t.equal("each call has a duration", values["kongtap_call_duration_seconds_count"], float(CALLS))
            t.equal("what was delivered", values["kongtap_ship_sent_events_total"], float(CALLS))
            statuses = {}
            for event in collector.events():
                key = f"{event['response']['status'] // 100}xx"
                statuses[key] = statuses.get(key, 0) + 1
            told = {key: int(total(values, "kongtap_calls_total", status=key)) for key in statuses}
            t.equal("statuses are those of the events", told, statuses)
            t.equal("workers", values["kongtap_workers"], float(len(gateway.workers())))
            t.equal("each worker's TLS is probed", total(values, "kongtap_tls_workers") - total(
                values, "kongtap_tls_workers", placement="none"), float(len(gateway.workers())))
            t.equal("the collector is fine", values['kongtap_collector_state{state="ok"}'], 1.0)
            t.check("its requests took some time", 0 < values["kongtap_collector_request_seconds_sum"] < 600)
            t.equal("nothing was lost", total(values, "kongtap_capture_lost_records_total"), 0.0)
            t.check("memory and CPU are plausible", 1e6 < values["process_resident_memory_bytes"] < 1e9
                    and 0 < values["process_cpu_seconds_total"] < 600)
            t.check("and when it was started", abs(values["process_start_time_seconds"] - time.time()) < 600)
            same_in_both_formats(t, port)
            status = json.loads(fetch(port, "/status.json")[2])
            t.equal("status.json tells the same", (status["calls"]["events"], status["collector"]["sent_events"],
                                                   len(status["workers"])), (CALLS, CALLS, len(gateway.workers())))
            t.check("traffic of both kinds is seen in the workers", sum(w["clear_bytes"] for w in status["workers"]) > 0
                    and sum(w["tls_bytes"] for w in status["workers"]) > 0, str(status["workers"]))
            t.equal("customers' calls are not shown unasked", status["last_calls"], None)
            t.equal("exit", agent.stop(), 0)


def same_in_both_formats(t, port):
    plain, open_ = fetch(port, "/metrics"), fetch(port, "/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    t.check("OpenMetrics when asked for", open_[1]["Content-Type"].startswith("application/openmetrics-text"))
    t.check("which has an end", open_[2].endswith("\n# EOF\n"))
    t.equal("and the same series", sorted(samples(open_[2])), sorted(samples(plain[2])))
    linted = subprocess.run(["promtool", "check", "metrics"], input=plain[2], capture_output=True, text=True)
    t.check("promtool check metrics has no remark", linted.returncode == 0 and not linted.stderr.strip(), linted.stderr[:500])


def port_in_use(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        out = directory / "events.jsonl"
        with Agent("--output", "jsonl", "--output-file", out, "--prefix", gateway.prefix, "--log-format", "json",
                   "--metrics-listen", f"127.0.0.1:{port}") as agent:
            agent.wait_ready()
            run_calls(gateway, directory, "calls", 50)
            wait_for(lambda: len(read_jsonl(out)) >= 50, 20, "the events")
            t.equal("exit", agent.stop(), 0)
        log = [json.loads(line) for line in agent.stderr.splitlines()]
        t.equal("log_format json: a line is an object of time, level, module and text", {tuple(line) for line in log},
                {("time", "level", "module", "text")})
        t.equal("one warning among its levels", [line["level"] for line in log if line["level"] != "info"], ["warning"])
        said = [line["text"] for line in log if "metrics" in line["text"]]
        t.equal("one line says that there is no endpoint", len(said), 1)
        t.check("and why, and that capture goes on", "in use" in said[0] and "capture goes on" in said[0], said[0])


def exposed(t):
    """Calls on the status page are warned of where others can reach it; an address that ends with 1 is no loopback yet."""
    for address, warned in (("[2001:db8::1]", True), ("[::1]", False)):
        inside = 'ip link set lo up; ip -6 addr add 2001:db8::1/128 nodad dev lo; exec "$@"'
        with Agent("--output", "none", "--prefix", "/nowhere", "--status-page-calls", "5", "--metrics-listen", f"{address}:9464",
                   wrapper=("unshare", "--net", "sh", "-c", inside, "sh")) as agent:
            agent.wait_ready()
            t.check(f"{address}: served", f"status page on {address}" in agent.stderr, agent.stderr)
            t.equal(f"{address}: calls that others can read are warned of", "who can reach" in agent.stderr, warned)
            t.equal("exit", agent.stop(), 0)


def ask_prometheus(port, path, **query):
    answer = json.loads(fetch(port, f"/api/v1/{path}?{urllib.parse.urlencode(query)}")[2])
    if answer["status"] != "success":
        raise RuntimeError(f"{path} {query}: {answer}")
    return answer["data"]


def scraped(t):
    """A real Prometheus takes the metrics (as OpenMetrics, which it prefers), evaluates the alerts, and answers the dashboard."""
    if not shutil.which("prometheus"):
        print("skip - metrics as a Prometheus takes them: no prometheus here")
        return
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port, own = free_port(), free_port()
        (directory / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "deploy/prometheus/alerts.yml")],
            "scrape_configs": [{"job_name": "kongtap", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}))
        with Agent("--output", "none", "--prefix", gateway.prefix, "--metrics-listen", f"127.0.0.1:{port}") as agent:
            agent.wait_ready()
            run_calls(gateway, directory, "calls", 100)
            with Process(["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                          f"--web.listen-address=127.0.0.1:{own}"]) as prometheus:
                prometheus.wait_line("Server is ready", 30)
                wait_for(lambda: ask_prometheus(own, "query", query="count_over_time(up[1m]) >= 3")["result"], 30, "three scrapes")
                target = ask_prometheus(own, "targets")["activeTargets"][0]
                t.equal("Prometheus takes what it is served", (target["health"], target["lastError"]), ("up", ""))
                calls = ask_prometheus(own, "query", query="sum(kongtap_calls_total)")["result"]
                t.equal("and has every call", [float(sample["value"][1]) for sample in calls], [100.0])
                families = ask_prometheus(own, "metadata")
                t.equal("each family has a type that Prometheus knows, and a help", [
                    name for name, facts in families.items() if facts[0]["type"] == "unknown" or not facts[0]["help"]], [])
                t.check("all of the agent's are there", sum(name.startswith("kongtap_") for name in families) > 50, str(len(families)))

                def rules():
                    return [rule for group in ask_prometheus(own, "rules")["groups"] for rule in group["rules"]]

                wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), 10, "rules evaluated")
                t.equal("every alert can be evaluated, and none is pending", [
                    rule["name"] for rule in rules() if rule["health"] != "ok" or rule["state"] != "inactive"], [])
                dashboard = json.loads((ROOT / "deploy/grafana/kongtap.json").read_text())
                silent = []
                for panel in dashboard["panels"]:
                    for asked in panel.get("targets", []):
                        expression = asked["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h").replace("$instance", ".*")
                        if not ask_prometheus(own, "query", query=expression)["result"]:
                            silent.append(panel["title"])
                # No collector and no spool here.
                t.equal("every panel of the dashboard has something to show", set(silent), {"Room of the spool in use"})
                prometheus.stop()
            t.equal("exit", agent.stop(), 0)


def flood(port, paths, stop, counts):
    while not stop.is_set():
        for path in paths:
            try:
                counts.append(fetch(port, path, seconds=5)[0])
            except OSError:
                counts.append(0)


def loaded(t):
    """Clients that ask without pause, and some that say nothing, while calls pass: none is lost."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port, out = free_port(), directory / "events.jsonl"
        with Agent("--output", "jsonl", "--output-file", out, "--prefix", gateway.prefix, "--status-page-calls", "100",
                   "--metrics-listen", f"127.0.0.1:{port}") as agent:
            agent.wait_ready()
            stop, counts = threading.Event(), []
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
            askers = [threading.Thread(target=flood, args=(port, ("/status.json", "/metrics", "/"), stop, counts))
                      for _ in range(6)]
            for asker in askers:
                asker.start()
            run_calls(gateway, directory, "calls", CALLS)
            wait_for(lambda: len(read_jsonl(out)) >= CALLS, 30, "the events")
            t.equal("healthz under load", fetch(port, "/healthz")[0], 200)
            stop.set()
            for asker in askers:
                asker.join()
            for connection in silent:
                connection.close()
            values = settled(port, CALLS)
            t.equal(f"no call is lost while {len(counts)} requests are made", len(read_jsonl(out)), CALLS)
            t.equal("and no byte", values['kongtap_stream_missing_bytes_total{cause="lost"}'], 0.0)
            t.equal("each is answered or turned away", set(counts) - {200, 429}, set())
            t.check("many are answered", counts.count(200) > 50, f"{counts.count(200)} of {len(counts)}")
            t.equal("exit", agent.stop(), 0)


# Contrast of every text against the nearest background behind it (WCAG 2.1, 1.4.3).
CONTRAST = """(() => {
const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
const lum = (c) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]); };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll("body *")) {
  if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const a = lum(rgb(getComputedStyle(e).color)), b = lum(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) bad.push(e.tagName + "." + e.className + " " + e.textContent.slice(0, 30) + ": " + ratio.toFixed(2));
}
return bad; })()"""

NAMELESS = """[...document.querySelectorAll("button, a, svg, section, [role=group], table")].filter((e) => {
  if (!e.checkVisibility()) return false;
  const by = e.getAttribute("aria-labelledby");
  return !(e.getAttribute("aria-label") || (by && document.getElementById(by)) || (e.caption && e.caption.textContent)
    || (["A", "BUTTON"].includes(e.tagName) && e.textContent.trim()));
}).map((e) => e.outerHTML.slice(0, 60))"""

# What sticks out of the window, or has to be scrolled sideways.
WIDER = """[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.matches(".skip, thead, thead *")
  && (e.getBoundingClientRect().right > innerWidth + 1 || (e.matches(".scroll") && e.scrollWidth > e.clientWidth + 1)))
  .map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 30))"""

TEXT = "document.getElementById('{}').textContent"


def shot(browser, name):
    if SHOTS:
        os.makedirs(SHOTS, exist_ok=True)
        browser.screenshot(os.path.join(SHOTS, name))


def looks(t, browser, url, name, width, dark):
    browser.open(url, width=width, dark=dark)
    browser.wait(TEXT.format("state") + " === 'Capturing'")
    t.equal(f"{name}: every text can be read", browser.js(CONTRAST), [])
    t.equal(f"{name}: nothing is wider than the window", browser.js(WIDER), [])
    shot(browser, f"{name}.png")


def by_keyboard(t, browser):
    """Everything that can be used is reached with Tab, in the order of the page, and shows that it has the focus."""
    browser.js("document.activeElement.blur()")
    stops = []
    for _ in range(12):
        browser.press("Tab")
        stops.append(browser.js("[document.activeElement.tagName, document.activeElement.id, "
                                "parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2]"))
    names = [stop[0] for stop in stops]
    t.check("the first stop skips to the numbers", names[0] == "A", str(stops))
    t.check("the button and the links are reached", "pause" in [stop[1] for stop in stops] and names.count("A") >= 4, str(stops))
    t.check("the focus is seen", all(stop[2] for stop in stops if stop[0] in ("A", "BUTTON", "DIV")), str(stops))
    browser.js("document.getElementById('pause').focus()")
    browser.press("Enter")
    t.equal("Enter presses the button", browser.js("document.getElementById('pause').getAttribute('aria-pressed')"), "true")
    browser.press("Enter")


def page(t):
    program = find_chromium()
    if not program:
        print("skip - status page in a browser: no chromium here")
        return
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port = free_port()
        with Agent("--output", "none", "--prefix", gateway.prefix, "--metrics-listen", f"127.0.0.1:{port}",
                   "--status-page-calls", "20") as agent, Browser(program) as browser:
            agent.wait_ready()
            url = f"http://127.0.0.1:{port}/"
            browser.open(url)
            browser.wait(TEXT.format("state") + " === 'Capturing'")
            t.equal("workers are told", browser.js(TEXT.format("workers-n")), str(len(gateway.workers())))
            t.equal("nothing was lost", browser.js(TEXT.format("lost")), "nothing")
            t.equal("nothing is shipped", browser.js(TEXT.format("collector-note")),
                    "Nothing is shipped: no application id is configured.")
            t.equal("no call yet", browser.js(TEXT.format("seen")), "0 seen")
            run_calls(gateway, directory, "calls", 200)
            browser.wait(TEXT.format("seen") + " === '200 seen'")
            t.check("the numbers follow the traffic", True)
            t.check("the last calls are shown", browser.js("document.querySelectorAll('#calls tr').length") == 20)
            subprocess.run(gateway.in_netns("python3", "-c", f"""
import socket
s = socket.create_connection(("127.0.0.1", {PORTS['proxy']}))
s.send(b"GET /open/<img/src=x/onerror=document.title=1>&\\"' HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
while s.recv(4096): pass"""), check=True)
            browser.wait("document.getElementById('calls').textContent.includes('onerror')")
            t.equal("what clients send is text, never markup", browser.js(
                "[document.title, document.querySelectorAll('main img').length]"), ["kongtap", 0])
            t.equal("everything has a name", browser.js(NAMELESS), [])
            by_keyboard(t, browser)
            time.sleep(11)
            looks(t, browser, url, "light", 1280, False)
            looks(t, browser, url, "dark", 1280, True)
            looks(t, browser, url, "narrow", 400, False)
            browser.wait("document.querySelector('svg path').getAttribute('d')")
            t.check("the plots have lines", True)
            t.equal("nothing came from elsewhere", {r for r in browser.requests if not r.startswith((url, "data:"))}, set())
            t.equal("nothing is said on the console", browser.console, [])
            t.equal("exit", agent.stop(), 0)
            browser.wait(TEXT.format("state") + ".startsWith('The agent does not answer')")
            t.check("an agent that is gone is not shown as capturing", True)
            shot(browser, "gone.png")


def histories(steps):
    """15 minutes in which everything happens: nobody calls, many do, something breaks and is lost."""
    wave = [None if i < 6 else 400 + 300 * math.sin(i / 9) for i in range(steps)]
    return {"calls": [w or 0 for w in wave], "p50_ms": [w and 3 + w / 200 for w in wave], "p95_ms": [w and 20 + w / 9 for w in wave],
            "client_errors": [w and .02 for w in wave], "server_errors": [w and (.2 if 50 < i < 60 else 0) for i, w in enumerate(wave)],
            "lost": [40 if 52 < i < 57 else 0 for i in range(steps)], "queued": [max(0, (i - 50) * 200) for i in range(steps)],
            "cpu": [(w or 0) / 5000 for w in wave]}


def states(real):
    """(name, what the page must say, status): the agent's own answer, with what can go wrong put into it."""
    def of(**changes):
        status = copy.deepcopy(real)
        for path, value in changes.items():
            at, *more = path.split("__")
            target = status
            while more:
                target, at = target[at], more.pop(0)
            target[at] = value
        return status

    busy = of(calls__seen=1234567, calls__rate=8123.4, history={**real["history"], **histories(real["history"]["steps"])},
              collector__state="ok", collector__sent_events=1230000, collector__sent_batches=24600, collector__last_status=201,
              collector__mean_ms=43.2, collector__queued_events=412, collector__queued_bytes=1400000,
              collector__spool_limit_bytes=1 << 30, last_calls=None)
    blind = copy.deepcopy(busy)
    blind["workers"][0].update(tls_probed=False, tls="/usr/lib/libssl.so.3: no SSL_read (stripped)", pod="kong-7f9c-x2",
                               pod_namespace="gateways", container="0123456789abcdef")
    losing = copy.deepcopy(busy)
    losing["loss"][0]["count"] = 4321
    losing["loss"][5]["count"] = 9_000_000
    lost = copy.deepcopy(losing)
    return [("busy", "Capturing", busy), ("blind", "Capturing", blind), ("losing", "Capturing, but something is being lost", losing),
            ("lost", "Capturing", lost),
            ("refused", "Capturing; the collector refuses the application id",
             {**busy, "collector": {**busy["collector"], "state": "refused", "last_status": 401, "error": "401 Unauthorized"}}),
            ("retrying", "Capturing; the collector does not answer",
             {**busy, "collector": {**busy["collector"], "state": "retrying", "last_status": 0, "error": "Connection refused"}}),
            ("empty", "Capturing, but no Kong worker was found", {**busy, "workers": [], "workers_watched": 0}),
            ("not-ready", "Not capturing: the rings are closed", {**busy, "ready": False, "not_ready": "the rings are closed"}),
            ("hangs", "The agent hangs: no sign of life for 12 s", {**busy, "quiet_s": 12.1})]


def as_it_is_read(t, browser, workers):
    """The tree that a screen reader gets, on a window so narrow that rows are shown as cards."""
    browser.look(400)
    browser.call("Accessibility.enable")
    nodes = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    roles = [node["role"]["value"] for node in nodes]
    t.equal("a screen reader gets tables: their heads, a header for each row", (roles.count("table"), roles.count("rowheader"),
                                                                               roles.count("columnheader")), (1, workers, 6))
    t.check("a state that it is told of when it changes", "status" in roles)
    t.equal("pictures that are described", [node["name"]["value"] for node in nodes if node["role"]["value"] == "image"
                                            and "last 15 minutes: now" not in node["name"]["value"]], [])
    t.check("six of them", roles.count("image") == 6, str(roles.count("image")))
    levels = [next(p["value"]["value"] for p in node["properties"] if p["name"] == "level")
              for node in nodes if node["role"]["value"] == "heading"]
    t.check("headings in steps of one", levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:])), str(levels))


def every_state(t):
    """What the page says when something is wrong, and that all of it can be read, light and dark, wide and narrow."""
    program = find_chromium()
    if not program:
        print("skip - states of the status page in a browser: no chromium here")
        return
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port = free_port()
        with Agent("--output", "none", "--prefix", gateway.prefix, "--metrics-listen", f"127.0.0.1:{port}") as agent, \
                Browser(program) as browser:
            agent.wait_ready()
            real = json.loads(fetch(port, "/status.json")[2])
            browser.open(f"http://127.0.0.1:{port}/")
            browser.wait(TEXT.format("state") + " === 'Capturing'")
            t.equal("no call is shown unasked, and the page says how to", browser.js(
                "[document.getElementById('calls-box').checkVisibility(), document.getElementById('calls-off').checkVisibility()]"),
                [False, True])
            browser.js("document.getElementById('pause').click()")
            # An answer that is still under way would be shown over what is put there.
            browser.wait("!asking")
            as_it_is_read(t, browser, len(real["workers"]))
            for name, wanted, status in states(real):
                browser.js(f"show({json.dumps(status)})")
                t.equal(f"{name}: the page says so", browser.js(TEXT.format("state")), wanted)
                for width in (1280, 400):
                    for dark in (False, True):
                        look = f"{name}, {'dark' if dark else 'light'}, {width}"
                        browser.look(width, dark)
                        t.equal(f"{look}: every text can be read", browser.js(CONTRAST), [])
                        t.equal(f"{look}: nothing is wider than the window", browser.js(WIDER), [])
                        shot(browser, f"state-{name}-{'dark' if dark else 'light'}-{width}.png")
            t.equal("nothing is said on the console", browser.console, [])
            t.equal("exit", agent.stop(), 0)


if __name__ == "__main__":
    sys.exit(Checks().run(numbers_add_up, scraped, port_in_use, exposed, loaded, page, every_state))
