#!/usr/bin/env bash
# Installs, builds and runs every test: what CI runs. `scripts/test.sh STAGE…` runs only these stages:
#   format includes tidy unit replay fuzz san bpf e2e vm
# FUZZ_SECONDS (default 10) is the time of each fuzzer.
set -u
cd "$(dirname "$0")/.." || exit 2
if [ "$(id -u)" != 0 ]; then
	echo "The tests load BPF programs and make network namespaces: run them as root (sudo ./scripts/test.sh)." >&2
	exit 2
fi
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(format includes tidy unit replay fuzz san bpf e2e vm)
passed=0 failed=0 skipped=0
reasons=()
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
started=$SECONDS

# Runs a command, shows its failures, its skips and its lines "= …", adds up its lines "ok …", "FAIL …" or "not ok …",
# "skip …".
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
	while read -r line; do reasons+=("$line"); done < <(grep -E '^skip ' "$log")
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	printf '%-28s %4d ok %3d failed %3d skipped  (%d s)\n' "$name" "$ok" "$bad" "$skip" "$((SECONDS - started))"
}

build() {
	local log=$logs/build
	if ! make -j"$(nproc)" "$@" >"$log" 2>&1; then
		echo "not ok - build: make $*"
		grep -aE 'error|Error|undefined' "$log" | head -n 40
		failed=$((failed + 1))
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

./scripts/install-deps.sh test || { echo "0 passed, 1 failed"; exit 1; }
build all tools || { echo "$passed passed, $failed failed"; exit 1; }

for stage in "${stages[@]}"; do
	case $stage in
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
	*) echo "unknown stage: $stage" >&2; exit 2 ;;
	esac
done

for r in ${reasons[@]+"${reasons[@]}"}; do echo "$r"; done
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
