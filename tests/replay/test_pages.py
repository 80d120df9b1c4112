#!/usr/bin/env python3
"""What README and docs say of the program, held against the program: names of options, metrics and files, messages, alerts,
links."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/kubernetes/README.md"]
failed = passed = 0


def check(name, problems):
    global failed, passed
    passed, failed = passed + (not problems), failed + bool(problems)
    print(f"FAIL - {name}: {problems[:8]}" if problems else f"ok - {name}")


def tracked():
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in files]


def sources():
    """All text of the program, its tests and what is deployed: where a name that a page uses must come from."""
    texts = []
    for path in tracked():
        if path.suffix != ".md" and path.is_file() and path.relative_to(ROOT).parts[0] in ("user", "bpf", "deploy", "tests", "scripts"):
            texts.append(path.read_bytes().decode("utf-8", "ignore"))
    return "\n".join(texts)


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(page):
    problems = []
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, part = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            problems.append(target)
        elif part and part not in [anchor(line.lstrip("# ")) for line in file.read_text().splitlines() if line.startswith("#")]:
            problems.append(target)
    return problems


def names(page, text_of_sources, joined):
    """Inline code that is a name: options, metrics, fields, files, messages."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    problems = []
    for span in re.findall(r"`([^`\n]+)`", prose):
        if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", span) and span not in text_of_sources and span.removeprefix("kongtap_").removesuffix("_total") \
                not in text_of_sources:
            problems.append(span)
        # A file that is there, or that a script of the tree makes.
        elif re.fullmatch(r"(user|bpf|tests|deploy|scripts|docs)/[\w./-]+", span) and not list(ROOT.glob(span + "*")) \
                and f'"{Path(span).name}"' not in text_of_sources:
            problems.append(span)
        elif re.fullmatch(r"--[a-z-]+", span) and span[2:].removeprefix("no-").replace("-", "_") not in text_of_sources:
            problems.append(span)
        elif re.match(r"[A-Za-z]+ [a-zA-Z' ]{12,}", span) and not re.match(r"kongtap |sudo |systemctl |kubectl |docker ", span) \
                and span not in joined:
            problems.append(span)
    return problems


def main():
    text = sources()
    # Messages of more than one line of C are one message.
    joined = re.sub(r'"\s*\n\s*"', "", text)
    for page in PAGES:
        name = page.relative_to(ROOT)
        check(f"{name}: every link leads somewhere", links(page))
        if name.name != "PLUGIN-PARITY.md":
            check(f"{name}: every name and message is one that there is", names(page, text, joined))
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text())
    rows = re.findall(r"^\| (Kongtap\w+) \|", (ROOT / "docs/OPERATING.md").read_text(), re.M)
    check("docs/OPERATING.md tells what to do about each alert", sorted(set(alerts) ^ set(rows)))
    capabilities = set(re.findall(r"\{CAP_\w+, \"(CAP_\w+)\"", text)) or set(re.findall(r"CAP_\w+", (ROOT / "user/ops/privs.c").read_text()))
    said = set(re.findall(r"^\| `(CAP_\w+)` \|", (ROOT / "docs/SECURITY.md").read_text(), re.M))
    check("docs/SECURITY.md lists each capability", sorted(capabilities - said - {"CAP_SETPCAP"}))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
