#!/usr/bin/env bash
# Installs, builds and runs every test: what CI runs. `scripts/test.sh STAGE…` runs only these stages:
#   format includes tidy unit replay fuzz san bpf e2e vm
# FUZZ_SECONDS (default 10) is the time of each fuzzer. What only computes (tidy, fuzz, san) runs beside what mostly waits (bpf,
# e2e), and gives way to it.
set -u
cd "$(dirname "$0")/.." || exit 2
if [ "$(id -u)" != 0 ]; then
	echo "The tests load BPF programs and make network namespaces: run them as root (sudo ./scripts/test.sh)." >&2
	exit 2
fi
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(format includes tidy unit replay fuzz san bpf e2e vm)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
touch "$logs/counts" "$logs/skips"
started=$SECONDS

# What is called may run in a shell of its own, so the figures go to a file.
add() { # passed failed skipped
	echo "$@" >>"$logs/counts"
}

# Shows the figures; whether all is well.
total() {
	local passed failed skipped
	cat "$logs/skips"
	read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$logs/counts")
	if [ "$skipped" -gt 0 ]; then
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ "$failed" = 0 ]
}

# Runs a command, shows its failures and its lines "= …", adds up its lines "ok …", "FAIL …" or "not ok …", "skip …"; these are
# shown at the end.
counted() {
	local name=$1; shift
	local log=$logs/${name//\//_} rc=0 ok bad skip
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	ok=$(grep -cE '^ok ' "$log"); bad=$(grep -cE '^(FAIL|not ok) ' "$log"); skip=$(grep -cE '^skip ' "$log")
	if [ "$rc" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		echo "not ok - $name: ended with $rc"
		tail -n 60 "$log"
	elif [ "$bad" != 0 ]; then
		grep -aE -A 12 '^(FAIL|not ok) ' "$log" | head -n 200
		echo "--- last lines of $name:"; tail -n 40 "$log"
	elif [ "$ok" = 0 ] && [ "$skip" = 0 ]; then
		bad=1
		echo "not ok - $name: ran no test"
	fi
	grep -aE '^= ' "$log" | cut -c 3-
	grep -aE '^skip ' "$log" >>"$logs/skips"
	add "$ok" "$bad" "$skip"
	printf '%-28s %4d ok %3d failed %3d skipped  (%d s)\n' "$name" "$ok" "$bad" "$skip" "$((SECONDS - started))"
}

build() {
	local log
	log=$(mktemp "$logs/build-XXXXXX")
	if ! make -j"$(nproc)" "$@" >"$log" 2>&1; then
		echo "not ok - build: make $*"
		grep -aE 'error|Error|undefined' "$log" | head -n 40
		add 0 1 0
		return 1
	fi
}

unit_all() { # directory of binaries
	local b
	for b in "$1"/unit/test_*; do
		[ -x "$b" ] && [[ $b != *.d ]] || continue
		echo "# $b"
		CMOCKA_MESSAGE_OUTPUT=tap timeout 300 "$b" || echo "FAIL - $b: ended with $?"
	done
}

fuzz_one() { # binary
	local name=${1##*/fuzz_} work
	work=$(mktemp -d)
	mkdir -p "tests/fuzz/corpus/$name"
	if "$1" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=3000 -print_final_stats=0 \
		-artifact_prefix="$work/" "$work" "tests/fuzz/corpus/$name" >"$work.log" 2>&1; then
		echo "ok - fuzz $name: $(grep -aoE '#[0-9]+' "$work.log" | tail -n 1) inputs"
	else
		echo "FAIL - fuzz $name"
		tail -n 40 "$work.log"
	fi
	rm -rf "$work" "$work.log"
}

fuzz_all() { # as many side by side as there are cores; what each says comes in one piece
	export -f fuzz_one
	# shellcheck disable=SC2016
	find build/fuzz -name 'fuzz_*' -type f -executable | sort |
		xargs -P "$(nproc)" -I{} bash -c 'text=$(fuzz_one "$1"); echo "$text"' - {}
}

each_script() { # files of one folder, one after the other
	local f
	for f in "$@"; do
		[ -e "$f" ] || continue
		case $f in
		*.py) counted "${f#tests/}" timeout 1200 python3 "$f" ;;
		*.sh) counted "${f#tests/}" timeout 1200 bash "$f" ;;
		esac
	done
}

stage() {
	case $1 in
	format) counted format ./scripts/check-format.sh ;;
	includes) counted includes ./scripts/check-includes.sh ;;
	tidy) counted tidy ./scripts/check-tidy.sh ;;
	unit) build unit-build && counted unit unit_all build ;;
	replay) each_script tests/replay/*.py tests/replay/*.sh ;;
	fuzz) build fuzz-build && counted fuzz fuzz_all ;;
	san) build O=build-san SAN=1 all unit-build && counted san-unit unit_all build-san ;;
	bpf) each_script tests/bpf/test_*.py tests/bpf/test_*.sh ;;
	e2e) each_script tests/gateway/test_*.py tests/e2e/test_*.py tests/e2e/test_*.sh ;;
	vm) each_script tests/vm/test_*.py tests/vm/test_*.sh ;;
	esac
}

only_computes=" tidy fuzz san " mostly_waits=" bpf e2e "
beside=() rest=() waits=false
for name in "${stages[@]}"; do
	[[ " format includes tidy unit replay fuzz san bpf e2e vm " == *" $name "* ]] || { echo "unknown stage: $name" >&2; exit 2; }
	[[ $mostly_waits != *" $name "* ]] || waits=true
done
for name in "${stages[@]}"; do
	if $waits && [[ $only_computes == *" $name "* ]]; then beside+=("$name"); else rest+=("$name"); fi
done
aside=
# Shows what the stages of the other shell said, once they are through.
join_aside() {
	[ -n "$aside" ] || return 0
	wait "$aside"
	aside=
	cat "$logs/aside"
}

./scripts/install-deps.sh test || { add 0 1 0; total; exit 1; }
build all tools || { total; exit 1; }

for name in "${rest[@]}"; do
	if [[ $mostly_waits == *" $name "* ]] && [ ${#beside[@]} -gt 0 ]; then
		(
			renice -n 10 -p "$BASHPID" >/dev/null
			for computing in "${beside[@]}"; do stage "$computing"; done
		) >"$logs/aside" 2>&1 &
		aside=$! beside=()
	fi
	[ "$name" != vm ] || join_aside # emulated kernels need the machine
	stage "$name"
done
join_aside
total
