#!/usr/bin/env bash
# clang-tidy over the user side, with the flags of the build.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${O:-build}
flags=(-std=gnu17 -D_GNU_SOURCE -Iuser -Ibpf -isystem "$out/skel" -isystem /usr/share/include/llhttp)
export out
tidy_one() {
	local f=$1; shift
	local text
	if text=$(clang-tidy-14 --quiet "$f" -- "$@" 2>/dev/null); then
		:
	else
		printf 'FAIL - tidy: %s\n%s\n' "$f" "$text"
		return 1
	fi
}
export -f tidy_one
if git ls-files 'user/*.c' 'user/**/*.c' | sort -u | xargs -P "$(nproc)" -I{} bash -c 'tidy_one "$@"' _ {} "${flags[@]}"; then
	echo "ok - tidy: no finding"
else
	exit 1
fi
