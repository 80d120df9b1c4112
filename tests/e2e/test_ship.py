#!/usr/bin/env python3
"""Delivery when the collector is not what it should be: real calls go on while it is down, slow, resetting, silent, wrong
or refuses; the agent is stopped and killed in between. Every call arrives, and the application id is seen nowhere. Over TLS
it arrives only where the certificate is right.

KONGTAP_TEST_SHIP_CALLS sets the number of calls of each run (600)."""
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

from lib import Agent, Checks, Collector, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for

CALLS = int(os.environ.get("KONGTAP_TEST_SHIP_CALLS", "600"))
APPLICATION_ID = "kongtap-canary-id-5f1d"
SYNC_MS = 300
QUICK = ("--retry-base", "50", "--retry-max", "200", "--refused-probe", "300", "--send-timeout", "500",
         "--spool-sync", str(SYNC_MS), "--metrics-listen", "none")
# An answer that comes too late makes a duplicate: where none is expected, the machine's pace must not matter.
PATIENT = ("--send-timeout", "10000")


def agent_for(gateway, collector, directory, *args):
    return Agent("--prefix", gateway.prefix, "--spool-dir", directory / "spool", *QUICK, *args,
                 env={"KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": collector.url})


def send(gateway, directory, name, calls=CALLS, rate=None):
    record = directory / f"{name}.jsonl"
    paced = ("--rate", rate) if rate else ()
    return record, client(gateway, record, "--calls", calls, "--seed", name, "--connections", "8", *paced)


def ids_of_calls(*records):
    return {entry["id"] for record in records for entry in read_jsonl(record) if entry.get("id")}


def ids_delivered(collector):
    return [(event.get("response") or {}).get("headers", {}).get("x-kong-request-id") for event in collector.events()]


def wait_until_delivered(collector, wanted, seconds=30):
    try:
        wait_for(lambda: wanted <= set(ids_delivered(collector)), seconds, "the events")
    except GatewayError:
        pass
    return wanted - set(ids_delivered(collector))


def counters(agent):
    """What the agent has counted by now, by SIGUSR1."""
    before = len(agent.lines["stderr"])
    agent.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: any("ship_sent_events" in line for line in agent.lines["stderr"][before:]), 10, "the counters")
    time.sleep(0.3)
    text = "\n".join(agent.lines["stderr"][before:])
    return {name: int(value) for name, value in re.findall(r"\b([a-z]+_[a-z_]+) (\d+)$", text, re.M)}


def no_canary(t, what, agent, directory):
    t.check(f"{what}: the application id is in no log", APPLICATION_ID not in agent.stderr + agent.stdout)
    spooled = b"".join(path.read_bytes() for path in (directory / "spool").glob("*") if path.is_file())
    t.check(f"{what}: nor on disk", APPLICATION_ID.encode() not in spooled)


def every_fault_in_turn(t):
    what = "faults"
    faults = [{"mode": "status", "status": 500}, {"mode": "reset"}, {"mode": "never"}, {"mode": "garbage"},
              {"mode": "status", "status": 429, "retry_after": 1}, {"mode": "status", "status": 401},
              {"mode": "limit", "bytes": 20000}, {"mode": "slow", "ms": 400}]
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector, \
            agent_for(gateway, collector, directory) as agent:
        agent.wait_ready()
        record, traffic = send(gateway, directory, "faults", rate=CALLS / (len(faults) * 1.0))
        with traffic:
            for fault in faults:
                collector.control(**fault)
                time.sleep(1)
            collector.control(mode="ok")
            t.equal(f"{what}: client", traffic.wait(120), 0)
        calls = ids_of_calls(record)
        t.equal(f"{what}: calls that did not arrive", len(wait_until_delivered(collector, calls)), 0)
        said = counters(agent)
        t.check(f"{what}: the disk was used", said.get("ship_spooled_events", 0) > 0, str(said))
        t.check(f"{what}: the refusal was loud", "REFUSES" in agent.stderr)
        dropped = {name: n for name, n in said.items() if "_dropped_" in name and name.startswith(("ship", "queue"))}
        t.equal(f"{what}: dropped", dropped, {})
        t.equal(f"{what}: exit code", agent.stop(), 0)
        t.equal(f"{what}: what the collector has against the events", collector.stats()["errors"], [])
        left = list((directory / "spool").glob("*.spool"))
        t.equal(f"{what}: files left in the spool", left, [])
        no_canary(t, what, agent, directory)


def in_order(t):
    """One call after the other, in batches of five and with a collector that takes its time but keeps up: the events arrive
    in the order of the calls, though four requests at once were allowed."""
    what = "in order"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector, \
            agent_for(gateway, collector, directory, *PATIENT, "--batch-size", "5", "--batch-age", "100") as agent:
        agent.wait_ready()
        collector.control(mode="slow", ms=20)
        record = directory / "order.jsonl"
        with client(gateway, record, "--calls", 200, "--seed", "order", "--connections", "1", "--rate", 100) as traffic:
            t.equal(f"{what}: client", traffic.wait(120), 0)
        calls = [entry["id"] for entry in read_jsonl(record) if entry.get("id")]
        t.equal(f"{what}: calls that did not arrive", len(wait_until_delivered(collector, set(calls))), 0)
        t.check(f"{what}: as the calls were made", ids_delivered(collector) == calls, f"{len(calls)} calls")
        t.equal(f"{what}: exit code", agent.stop(), 0)


def stopped_in_an_outage(t):
    what = "stopped"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        collector.control(mode="reset")
        with agent_for(gateway, collector, directory) as agent:
            agent.wait_ready()
            record, traffic = send(gateway, directory, "stopped")
            with traffic:
                t.equal(f"{what}: client", traffic.wait(120), 0)
            wait_for(lambda: "does not take events" in agent.stderr, 10, "the outage to be noticed")
            t.equal(f"{what}: exit code", agent.stop(), 0)
            no_canary(t, what, agent, directory)
        t.equal(f"{what}: arrived before", len(collector.events()), 0)
        collector.control(mode="ok")
        with agent_for(gateway, collector, directory, *PATIENT) as agent:
            agent.wait_ready()
            t.equal(f"{what}: calls that did not arrive after the restart",
                    len(wait_until_delivered(collector, ids_of_calls(record))), 0)
            agent.stop()
        t.equal(f"{what}: delivered twice", collector.stats()["duplicates"], 0)


def killed_again_and_again(t):
    what = "killed"
    kills = 4
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        records = []
        for turn in range(kills):
            collector.control(mode=["reset", "ok", "never", "ok"][turn % 4])
            with agent_for(gateway, collector, directory) as agent:
                agent.wait_ready()
                record, traffic = send(gateway, directory, f"killed-{turn}", CALLS // kills)
                with traffic:
                    t.equal(f"{what}: client {turn}", traffic.wait(120), 0)
                records.append(record)
                # What is older than the sync interval must survive; the join may hold a call for half a second.
                time.sleep(1 + SYNC_MS / 1000)
                agent.process.send_signal(signal.SIGKILL)
                agent.wait()
        collector.control(mode="ok")
        with agent_for(gateway, collector, directory) as agent:
            agent.wait_ready()
            t.equal(f"{what}: calls that did not arrive",
                    len(wait_until_delivered(collector, ids_of_calls(*records))), 0)
            agent.stop()
        print(f"# {collector.stats()['duplicates']} events came twice, as they may after a kill")


def certificate(directory, name):
    """A self-signed one for this name, with its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


class TlsFront:
    """Takes TLS, with HTTP/1.1 only, and passes the bytes on to a port of this host."""

    def __init__(self, certificate, key, port):
        self.port_behind = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            client = self.context.wrap_socket(connection, server_side=True)
            behind = socket.create_connection(("127.0.0.1", self.port_behind))
            threading.Thread(target=self.pump, args=(behind, client), daemon=True).start()
            self.pump(client, behind)
        except OSError:
            connection.close()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def over_tls(t):
    what = "TLS"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        mine, key = certificate(directory, "localhost")
        other, other_key = certificate(directory, "elsewhere.test")
        front = TlsFront(mine, key, collector.port)
        wrong = TlsFront(other, other_key, collector.port)
        authorities = directory / "authorities.pem"
        authorities.write_bytes(mine.read_bytes() + other.read_bytes())
        cases = [("a certificate that nobody vouches for", front, [], False),
                 ("a certificate of another name", wrong, ["--ca-file", authorities], False),
                 ("a good certificate", front, ["--ca-file", authorities], True),
                 ("no check", wrong, ["--no-tls-verify"], True)]
        for turn, (name, server, flags, good) in enumerate(cases):
            with Agent("--prefix", gateway.prefix, *QUICK, *PATIENT, "--shutdown-timeout", "500", *flags,
                       env={"KONGTAP_APPLICATION_ID": APPLICATION_ID,
                            "KONGTAP_API_ENDPOINT": f"https://localhost:{server.port}"}) as agent:
                agent.wait_ready()
                record, traffic = send(gateway, directory, f"tls-{turn}", 20)
                with traffic:
                    traffic.wait(60)
                calls = ids_of_calls(record)
                if good:
                    t.equal(f"{what}, {name}: calls that did not arrive", len(wait_until_delivered(collector, calls)), 0)
                else:
                    agent.wait_line("does not take events: no answer: SSL", 10)
                    t.check(f"{what}, {name}: nothing arrives", not calls & set(ids_delivered(collector)))
                agent.stop()


H2_FRONT = """
user root;
daemon on;
error_log error.log;
pid nginx.pid;
events {{ worker_connections 256; }}
http {{
    log_format line "$server_protocol $connection $request_method $uri $status";
    access_log access.log line;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    client_max_body_size 50m;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ proxy_pass {collector}; }}
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def over_http2(t):
    """A collector's front that offers HTTP/2 gets it, and several requests share a connection."""
    what = "over HTTP/2"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        front, port = directory / "front", free_port()
        front.mkdir()
        certificate_file, key = certificate(directory, "localhost")
        (front / "nginx.conf").write_text(H2_FRONT.format(port=port, certificate=certificate_file, key=key,
                                                          collector=collector.url))
        subprocess.run(["nginx", "-p", front, "-c", "nginx.conf", "-e", "error.log"], check=True)
        try:
            with Agent("--prefix", gateway.prefix, *QUICK, *PATIENT, "--ca-file", certificate_file, "--compression", "gzip",
                       "--batch-size", "20",
                       env={"KONGTAP_APPLICATION_ID": APPLICATION_ID,
                            "KONGTAP_API_ENDPOINT": f"https://localhost:{port}"}) as agent:
                agent.wait_ready()
                record, traffic = send(gateway, directory, "h2", 300)
                with traffic:
                    t.equal(f"{what}: client", traffic.wait(60), 0)
                t.equal(f"{what}: calls that did not arrive",
                        len(wait_until_delivered(collector, ids_of_calls(record))), 0)
                agent.stop()
        finally:
            os.kill(int((front / "nginx.pid").read_text()), signal.SIGTERM)
        asked = [line.split() for line in (front / "access.log").read_text().splitlines()]
        t.check(f"{what}: {len(asked)} requests, none by another protocol",
                len(asked) > 15 and {line[0] for line in asked} == {"HTTP/2.0"}, asked[:3])
        t.check(f"{what}: they share few connections", len({line[1] for line in asked}) <= 6, asked[:3])
        t.equal(f"{what}: answers", {line[4] for line in asked}, {"200", "201"})
        t.check(f"{what}: configuration and rules were asked for too", {"/v1/config", "/v1/rules"} <= {line[3] for line in asked})
        t.equal(f"{what}: what the collector has against it", collector.stats()["errors"], [])


if __name__ == "__main__":
    sys.exit(Checks().run(every_fault_in_turn, in_order, stopped_in_an_outage, killed_again_and_again, over_tls, over_http2))
