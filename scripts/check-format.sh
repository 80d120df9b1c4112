#!/usr/bin/env bash
# clang-format over every C file of ours; --fix rewrites them.
set -u
cd "$(dirname "$0")/.." || exit 2
mapfile -t files < <(git ls-files 'user/*.[ch]' 'user/**/*.[ch]' 'bpf/*.[ch]' 'tests/**/*.[ch]' | sort -u)
if [ "${1:-}" = --fix ]; then
	clang-format-14 -i "${files[@]}"
	exit
fi
bad=0
for f in "${files[@]}"; do
	clang-format-14 --dry-run --Werror "$f" >/dev/null 2>&1 || { echo "FAIL - format: $f (scripts/check-format.sh --fix mends it)"; bad=1; }
done
[ $bad = 0 ] && echo "ok - format: ${#files[@]} files"
exit $bad
