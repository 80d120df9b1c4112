#!/usr/bin/env python3
"""Tables out of what bench.py and micro.py wrote.

    report.py FILE         prints those of a bench
    report.py --take DIR   puts those of DIR/results.json and DIR/micro.json into docs/BENCHMARKS.md, between its lines
                           <!-- table: NAME --> and <!-- end -->, and keeps both files in results.json beside this one
"""
import argparse
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results.json"
PAGE = HERE.parent.parent / "docs" / "BENCHMARKS.md"
BODY_LIMIT = 100_000  # default of response_max_body_size_limit
MIB = 1 << 20
PROTOCOL_NAMES = {"http1": "HTTP/1.1", "https1": "HTTP/1.1, TLS", "h2c": "HTTP/2", "h2": "HTTP/2, TLS"}
SIZE_NAMES = {"0": "0 B", "1k": "1 KiB", "16k": "16 KiB", "1m": "1 MiB"}
CLEAR, TLS = "http1/1k", "https1/1k"


def middle(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def median(runs, key):
    return middle([run[key] for run in runs])


def paired(cell, over, under, key="rps"):
    """Median of the ratios of runs that followed each other: what slows the machine slows both."""
    if over not in cell or under not in cell:
        return None
    return middle([a[key] / b[key] for a, b in zip(cell[over], cell[under])])


def resident(run):
    return run["own_bytes"] + run["map_bytes"]


def agent_runs(found):
    """Every run under load with the agent, for bounds that hold in all of them."""
    return [run for name in (CLEAR, TLS) for run in found["cells"].get(name, {}).get("agent", [])] \
        + list(found["complete"].values())


def targets(found):
    """The rows of DESIGN.md's table: {what, want, bound, value, met}. A row that was not measured is left out."""
    cells = found["cells"]
    clear, tls = cells.get(CLEAR, {}), cells.get(TLS, {})
    complete, downloads = found["complete"].values(), found["downloads"]
    rows = []

    def row(what, sign, bound, value, good=None):
        if value is not None:
            good = (value >= bound if sign == ">=" else value <= bound) if good is None else good
            rows.append({"what": what, "sign": sign, "bound": bound, "value": value, "met": good})

    row("clear HTTP/1.1, 1 KiB answers: throughput with the agent ÷ without", ">=", 0.80, paired(clear, "agent", "none"))
    row("… ÷ empty programs at the same hooks, no agent", ">=", 0.92, paired(clear, "agent", "empty"))
    row("HTTPS, 1 KiB answers: with the agent ÷ empty programs at the same places", ">=", 0.90, paired(tls, "agent", "empty"))
    row("HTTPS ÷ the agent with entry and return probes", ">=", 1.5, paired(tls, "agent", "textbook"))
    if complete:
        row(f"events ÷ lines of the access log, at saturation, {found['run']['complete']} s", "=", 1.0,
            sum(run["events"] for run in complete) / sum(run["calls"] for run in complete),
            all(run["same_calls"] for run in complete))
    if clear:
        row("agent's CPU per transaction ÷ the gateway's CPU per call without it", "<=", 0.5,
            middle([a["agent_us"] / b["gateway_us"] for a, b in zip(clear["agent"], clear["none"])]))
    if agent_runs(found):
        row("resident memory under that load, MiB, all BPF maps included", "<=", 64,
            max(resident(run) for run in agent_runs(found)) / MIB)
    for what, names in (("a 1 GiB download by HTTP/1.1: bytes through the ring ÷ the body limit", ("http1", "https1")),
                        ("… by HTTP/2", ("h2c", "h2"))):
        passed = [run["ring_passed"] for name in names for run in downloads.get(name, {}).get("agent", [])]
        if passed:
            row(what, "<=", 4, max(passed) / BODY_LIMIT)
    return rows


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


SIGNS = {">=": "≥", "<=": "≤", "=": "="}


def target_table(found):
    return table(["what", "target", "measured", ""],
                 [[row["what"], f"{SIGNS[row['sign']]} {row['bound']:g}",
                   f"{row['value']:.4f}" if row["sign"] == "=" else f"{row['value']:.3g}",
                   "met" if row["met"] else "**missed**"] for row in found["targets"]])


def name_of(cell):
    protocol, size = cell.split("/")
    return f"{PROTOCOL_NAMES[protocol]}, {SIZE_NAMES[size]}"


def throughput_table(found):
    def share(value):
        return "" if value is None else f"{value:.2f}"

    def idle(runs):
        return f"{median(runs, 'idle'):.0%}" if all("idle" in run for run in runs) else ""

    return table(["answers", "calls/s without", "agent", "÷ without", "÷ empty", "empty ÷ without", "÷ entry and return",
                  "bpftrace ÷ without", "idle without", "idle with the agent"],
                 [[name_of(name), f"{median(cell['none'], 'rps'):.0f}", f"{median(cell['agent'], 'rps'):.0f}",
                   share(paired(cell, "agent", "none")), share(paired(cell, "agent", "empty")),
                   share(paired(cell, "empty", "none")), share(paired(cell, "agent", "textbook")),
                   share(paired(cell, "peer", "none")), idle(cell["none"]), idle(cell["agent"])]
                  for name, cell in found["cells"].items()])


def latency_table(found):
    return table(["answers", "p50 without", "p50 with the agent", "p99 without", "p99 with the agent"],
                 [[name_of(name)] + [f"{median(cell[watcher], key):.2f} ms" for key in ("p50_ms", "p99_ms")
                                     for watcher in ("none", "agent")] for name, cell in found["cells"].items()])


def cost_table(found):
    def events_of(runs):
        return f"{sum(run['events'] for run in runs) / sum(run['calls'] for run in runs):.4f}"

    return table(["answers", "gateway's CPU per call, without", "empty", "agent", "agent's own CPU per call",
                  "resident memory", "of which BPF maps", "events ÷ calls"],
                 [[name_of(name)] + [f"{median(cell[watcher], 'gateway_us'):.1f} µs" for watcher in ("none", "empty", "agent")]
                  + [f"{median(cell['agent'], 'agent_us'):.1f} µs", f"{max(map(resident, cell['agent'])) / MIB:.0f} MiB",
                     f"{max(run['map_bytes'] for run in cell['agent']) / MIB:.0f} MiB", events_of(cell["agent"])]
                  for name, cell in found["cells"].items()])


def download_table(found):
    return table(["1 GiB by", "seconds without", "with the agent", "bytes through the ring", "÷ body limit", "agent's CPU"],
                 [[PROTOCOL_NAMES[name], f"{median(runs['none'], 'seconds'):.2f}", f"{median(runs['agent'], 'seconds'):.2f}",
                   f"{median(runs['agent'], 'ring_passed'):.0f}",
                   f"{median(runs['agent'], 'ring_passed') / BODY_LIMIT:.2f}",
                   f"{median(runs['agent'], 'agent_us') / 1000:.0f} ms"] for name, runs in found["downloads"].items()])


def host_table(found):
    host, run = found["host"], found["run"]
    rows = [["machine", f"{host['cpus']} × {host['cpu']}, {host['memory_gib']} GiB"], ["kernel", host["kernel"]],
            ["kongtap", f"{host['kongtap']}, gcc {host['gcc']}"],
            ["others", f"nginx {host['nginx']}, OpenSSL {host['openssl']}, wrk {host['wrk']}, h2load (nghttp2) {host['h2load']}, "
                       f"bpftrace {host['bpftrace']}"],
            ["runs", f"{run['rounds']} of each kind, {run['seconds']} s where a target is about it, "
                     f"{max(1, run['seconds'] // 3)} s else; HTTP/1.1 on {run['connections']} connections; {run['took']} s in all, on {host['date']}; load of the machine "
                     f"before it began: {run['load_before']}"]]
    return table(["", ""], rows)


STAGES = {"wire": "wire: streams, HTTP/1, HTTP/2", "join": "join: the two legs", "moesif": "moesif: identify, mask, render",
          "print": "output as JSON lines, when asked for", "queue": "ship: into the queue",
          "send": "ship: batch and send, in a thread of its own"}


def micro_table(micro):
    recordings = micro["recordings"]
    rows = [[STAGES[stage]] + [f"{recording['stages'][stage]:.0f}" for recording in recordings.values()] for stage in STAGES]
    rows.append(["from the record to the event"] + [f"{recording['whole']:.0f}" for recording in recordings.values()])
    return table(["instructions per transaction", *recordings], rows) + f"\n\n{micro['compiler']}"


TABLES = {"targets": target_table, "host": host_table, "throughput": throughput_table, "latency": latency_table,
          "cost": cost_table, "download": download_table}


def all_tables(found):
    return "\n\n".join(make(found) for make in TABLES.values())


def filled(text, kept):
    """The page with each table between its marks made anew; nothing there as long as there are no results."""
    if not kept:
        return re.sub(r"(<!-- table: [a-z-]+ -->\n).*?(<!-- end -->)", r"\1\2", text, flags=re.S)
    tables = {name: make(kept["bench"]) for name, make in TABLES.items()} | {"micro": micro_table(kept["micro"])}

    def put(match):
        if match.group(2) not in tables:
            raise SystemExit(f"report: no table {match.group(2)!r}")
        return f"{match.group(1)}\n{tables[match.group(2)]}\n<!-- end -->"

    return re.sub(r"(<!-- table: ([a-z-]+) -->)\n.*?<!-- end -->", put, text, flags=re.S)


def kept_results():
    return json.loads(KEPT.read_text()) if KEPT.exists() else None


def take(directory):
    kept = {"bench": json.loads((directory / "results.json").read_text()),
            "micro": json.loads((directory / "micro.json").read_text())}
    if kept["bench"]["run"]["only"]:
        raise SystemExit("report: that was a part of the bench (BENCH_ONLY); the page shows whole ones")
    KEPT.write_text(json.dumps(kept, separators=(",", ":")) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), kept))


def main():
    parser = argparse.ArgumentParser(description="Tables out of a benchmark's results.")
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--take", type=Path, metavar="DIR")
    args = parser.parse_args()
    if args.take:
        take(args.take)
    elif args.results:
        print(all_tables(json.loads(args.results.read_text())))
    else:
        parser.error("nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
