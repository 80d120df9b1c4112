"""Load on the gateway: wrk for HTTP/1.1, h2load for HTTP/2, curl for one large download. Each returns what the client saw."""
import contextlib
import json
import re
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The load is a closed loop: while one worker waits for a CPU or for the service, all connections that it holds wait with it.
# With few of them the machine idles a third of the time, now more, now less, and what a watcher costs is taken from that.
# So many that there is always somebody to serve, and the share of idle time is measured along with the rest.
CONNECTIONS = 64
H2_CONNECTIONS = 16
STREAMS = 8  # of each connection, in HTTP/2

PROTOCOLS = {  # name: (scheme, name of the port in routes.json)
    "http1": ("http", "proxy"), "https1": ("https", "proxy_tls"),
    "h2c": ("http", "proxy_h2c"), "h2": ("https", "proxy_tls"),
}
SIZES = {"0": 0, "1k": 1 << 10, "16k": 16 << 10, "1m": 1 << 20, "1g": 1 << 30}


def url(gateway, protocol, size):
    scheme, port = PROTOCOLS[protocol]
    path = f"/open/bytes?n={SIZES[size]}&json=1" if SIZES[size] else "/open/empty"
    return f"{scheme}://127.0.0.1:{gateway.ports[port]}{path}"


def run(gateway, argv, seconds):
    result = subprocess.run(gateway.in_netns(*map(str, argv)), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                            timeout=seconds + 60)
    if result.returncode:
        raise RuntimeError(f"{argv[0]}: exit code {result.returncode}: {result.stderr[-300:]}{result.stdout[-300:]}")
    return result.stdout


def cpu_ticks():
    """(all, idle) of all CPUs together, since boot."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


@contextlib.contextmanager
def idle_share(seconds):
    """Holds, at the end, the share of all CPUs' time that nobody used between a quarter and nine tenths of the load: not
    while its client starts, nor while its results are read."""
    seen, over = {}, threading.Event()

    def look():
        if over.wait(seconds * 0.25):
            return
        total, idle = cpu_ticks()
        if over.wait(seconds * 0.65):
            return
        total_then, idle_then = cpu_ticks()
        seen["idle"] = (idle_then - idle) / max(total_then - total, 1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def wrk_command(target, seconds):
    return ["wrk", "-t", 1, "-c", CONNECTIONS, "-d", f"{seconds}s", "-s", HERE / "wrk.lua", target]


def h2load_command(target, seconds, log):
    return ["h2load", "-t", 1, "-c", H2_CONNECTIONS, "-m", STREAMS, "-D", seconds, f"--log-file={log}", target]


def calls_command(target, protocol, calls):
    shape = ["-c", CONNECTIONS, "--h1"] if protocol.endswith("1") else ["-c", H2_CONNECTIONS, "-m", STREAMS]
    return ["h2load", "-t", 1, *shape, "-n", calls, target]


def wrk(gateway, target, seconds, _):
    line = json.loads(run(gateway, wrk_command(target, seconds), seconds).strip().splitlines()[-1])
    return {"rps": line["calls"] / (line["us"] / 1e6), "p50_ms": line["p50"] / 1000, "p99_ms": line["p99"] / 1000,
            "errors": line["errors"]}


def h2load(gateway, target, seconds, scratch):
    log = scratch / "h2load.log"
    log.unlink(missing_ok=True)
    text = run(gateway, h2load_command(target, seconds, log), seconds)
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    errors = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    log.unlink()
    if not rate or not times:
        raise RuntimeError(f"h2load: no result in {text[-500:]}")
    return {"rps": float(rate.group(1)), "p50_ms": times[len(times) // 2] / 1000,
            "p99_ms": times[len(times) * 99 // 100] / 1000, "errors": sum(map(int, errors.groups())) if errors else 0}


def load(gateway, protocol, size, seconds, scratch):
    client = wrk if protocol.endswith("1") else h2load
    with idle_share(seconds) as idle:
        seen = client(gateway, url(gateway, protocol, size), seconds, scratch)
    return {**seen, **idle}


def calls(gateway, protocol, size, count, seconds):
    """So many calls at saturation, each to its end: nobody leaves in the middle of one, as wrk does when its time is up."""
    text = run(gateway, calls_command(url(gateway, protocol, size), protocol, count), 3 * seconds)
    done = re.search(r"(\d+) succeeded", text)
    rate = re.search(r"finished in ([\d.]+)(m?s), ([\d.]+) req/s", text)
    if not done or not rate:
        raise RuntimeError(f"h2load: no result in {text[-500:]}")
    return {"rps": float(rate.group(3)), "errors": count - int(done.group(1))}


def download_command(target, protocol):
    version = {"http1": "--http1.1", "https1": "--http1.1", "h2c": "--http2-prior-knowledge", "h2": "--http2"}[protocol]
    return ["curl", "-sSk", version, "-o", "/dev/null", "-w", "%{size_download} %{time_total}", target]


def download(gateway, protocol, size):
    bytes_came, took = run(gateway, download_command(url(gateway, protocol, size), protocol), 120).split()
    return {"bytes": int(bytes_came), "seconds": float(took)}
