#!/usr/bin/env bash
# Installs what is missing, builds, and shows real captured calls: those of the Kong on this host if one runs, else those
# of a stand-in gateway that this script starts in a network namespace and sends calls to. Arguments go to `kongtap run`.
# KONGTAP_STAND_IN=1 takes the stand-in even where a Kong runs.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	echo "kongtap loads BPF programs: run this as root (sudo ./scripts/run.sh)." >&2
	exit 1
fi

kong_runs() {
	local p prefix
	for p in $(pgrep -f '^nginx: master process' || true); do
		prefix=$(tr '\0' ' ' </proc/"$p"/cmdline 2>/dev/null | sed -n 's/.* -p \([^ ]*\).*/\1/p')
		[ -n "$prefix" ] && [ -e "/proc/$p/root$prefix/nginx-kong.conf" ] && return 0
	done
	return 1
}

if [ -z "${KONGTAP_STAND_IN:-}" ] && kong_runs; then
	./scripts/install-deps.sh build >&2
	make -s -j"$(nproc)" >&2
	echo "A Kong runs on this host: capturing its calls. Ctrl-C ends it." >&2
	exec build/kongtap run "$@"
fi

# Standard output is for calls.
./scripts/install-deps.sh run >&2
make -s -j"$(nproc)" >&2
dir=$(mktemp -d)
chmod 755 "$dir"
calls=
finish() {
	[ -n "$calls" ] && kill -- "-$calls" 2>/dev/null
	python3 tests/gateway/gateway.py down --dir "$dir" >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "No Kong runs on this host: starting a stand-in gateway and sending it calls. Ctrl-C ends it." >&2
python3 tests/gateway/gateway.py up --dir "$dir" >&2
setsid python3 tests/gateway/gateway.py exec --dir "$dir" -- bash "$PWD/scripts/demo-calls.sh" &
calls=$!
build/kongtap run --prefix "$dir/kong" "$@" &
agent=$!
trap 'kill -TERM $agent 2>/dev/null || true' INT TERM
rc=0
wait $agent || rc=$?
# A signal ends the wait before the agent has ended: it delivers what is queued first.
while kill -0 $agent 2>/dev/null; do wait $agent && rc=0 || rc=$?; done
exit $rc
