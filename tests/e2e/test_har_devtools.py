#!/usr/bin/env python3
"""A HAR file of a real Kong's calls, opened by the developer tools of a real Chromium: by their importer, whose requests are
compared with the events, and by the network panel as a person opens it."""
import json
import os
import subprocess
import sys

from browser import Browser, find_chromium
from lib import KONGTAP, ROOT, Checks

SHOTS = os.environ.get("KONGTAP_TEST_SCREENSHOTS")

IMPORT = """(async (text) => {
const har = await import('./models/har/har.js');
const out = [];
for (const r of har.Importer.Importer.requestsFromHARLog(new har.HARFormat.HARRoot(JSON.parse(text)).log)) {
  const data = await r.requestContentData();
  out.push({method: r.requestMethod, url: r.url(), status: r.statusCode, ms: r.duration * 1000,
    type: r.resourceType().name(), sent: r.requestHeaders().length, got: r.responseHeaders.length,
    body: data.error ? null : data.isTextContent ? data.text : data.base64});
}
return out; })"""

OPEN = """(async (text) => {
const UI = await import('./ui/legacy/legacy.js'), network = await import('./panels/network/network.js');
await UI.ViewManager.ViewManager.instance().showView('network');
await network.NetworkPanel.NetworkPanel.instance().networkLogView.onLoadFromFile(new File([text], 'calls.har'));
})"""

# The developer tools are made of shadow trees.
SAID = """(() => { const out = []; (function walk(e) { if (e.nodeType === 3) out.push(e.textContent);
for (const c of e.childNodes) walk(c); if (e.shadowRoot) walk(e.shadowRoot); })(document.body); return out.join(" "); })()"""


def replayed(output):
    recording = ROOT / "tests/replay/kong-3.9.1/cases.calls.jsonl.gz"
    return subprocess.run([KONGTAP, "replay", recording, "--output", output], check=True, capture_output=True, text=True).stdout


def opened(t):
    program = find_chromium()
    if not program:
        print("skip - HAR in developer tools: no chromium here")
        return
    text = replayed("har")
    events = [json.loads(line) for line in replayed("jsonl").splitlines()]
    with Browser(program) as browser:
        browser.session = None
        target = browser.call("Target.createTarget", url="devtools://devtools/bundled/devtools_app.html")["targetId"]
        browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.call("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
        browser.wait("document.readyState === 'complete'")
        requests = browser.js(f"{IMPORT}({json.dumps(text)})")
        t.equal("the importer has a request for each event", len(requests), len(events))
        wrong = []
        for request, event in zip(requests, events):
            response = event["response"]
            known = (event["request"]["verb"], event["request"]["uri"], response["status"])
            if (request["method"], request["url"], request["status"]) != known or request["type"] != "fetch":
                wrong.append(f"{request} is not {known}")
            for side, headers in (("sent", event["request"]["headers"]), ("got", response["headers"])):
                count = sum(len(v) if isinstance(v, list) else 1 for v in headers.values())
                if request[side] != count:
                    wrong.append(f"{known}: {request[side]} headers {side}, not {count}")
            if response.get("transfer_encoding") == "json" and json.loads(request["body"]) != response["body"]:
                wrong.append(f"{known}: body {request['body']!r:.80}")
            if abs(request["ms"] - event["metadata"]["kong"]["latency"]["total"]) > 0.01:
                wrong.append(f"{known}: {request['ms']} ms")
        t.check("which says what the event says: method, address, status, headers, body, time", not wrong and requests, str(wrong[:3]))
        browser.js(f"{OPEN}({json.dumps(text)})")
        browser.wait(f"{SAID}.includes('{len(events)} requests')")
        said = browser.js(SAID)
        t.check(f"the network panel shows {len(events)} requests", "x?case=kong_502" in said, said[-300:])
        t.check("and no complaint", "Failed" not in said and "rror" not in said.split("requests")[0][-200:], said[-300:])
        if SHOTS:
            browser.screenshot(os.path.join(SHOTS, "devtools.png"))


if __name__ == "__main__":
    sys.exit(Checks().run(opened))
