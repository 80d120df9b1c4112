#!/usr/bin/env bash
# The layers of DESIGN.md, enforced: a stage includes no later stage; each third-party library has one door and its
# headers appear in no header of ours; bpf/capture.h is included by capture/ only.
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0
fail() { echo "FAIL - includes: $1"; bad=1; }

# stage → the stages whose headers it may include
declare -A may=(
	[base]="base"
	[capture]="base capture"
	[wire]="base capture/record.h wire"
	[join]="base capture/record.h wire join"
	[moesif]="base capture/record.h wire join moesif"
	[ship]="base capture/record.h moesif/event.h moesif/json_out.h moesif/utf8.h ship"
	[ops]="base capture/record.h moesif/event.h moesif/json_out.h moesif/utf8.h ops"
)
for stage in "${!may[@]}"; do
	for file in user/"$stage"/*.[ch]; do
		[ -e "$file" ] || continue
		while read -r header; do
			ok=0
			for allowed in ${may[$stage]}; do
				[[ $header == "$allowed" || $header == "$allowed"/* ]] && ok=1
			done
			[ "$header" = version.h ] && ok=1
			[[ $stage == capture && ($header == capture.h || $header == *.skel.h) ]] && ok=1
			[[ $header == */* || $header == capture.h || $header == *.skel.h || -e user/$header ]] || ok=1
			[ $ok = 1 ] || fail "$file includes \"$header\": stage $stage may include only: ${may[$stage]}"
		done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
	done
done

# library header → where it may be included (a pattern over file names); never in a header of ours
door() {
	local pattern=$1 allowed=$2 file
	while read -r file; do
		[[ $file =~ ^($allowed)$ ]] || fail "$file includes <$pattern>: its door is $allowed"
		[[ $file == *.h ]] && fail "$file is a header and includes <$pattern>"
	done < <(grep -rlE "^#include <($pattern)" user 2>/dev/null)
}
door 'bpf/' 'user/capture/[a-z0-9_]+\.c'
door '(libelf|gelf)\.h' 'user/capture/[a-z0-9_]+\.c'
door 'llhttp' 'user/wire/http1\.c'
door 'nghttp2/' 'user/wire/(http2|h2[a-z_]*)\.c'
door 'curl/' 'user/ship/[a-z0-9_]+\.c'
door 'yaml\.h' 'user/config[a-z_]*\.c'
door 'microhttpd' 'user/ops/[a-z0-9_]+\.c'
door 'cap-ng\.h' 'user/ops/privs\.c'
door 'seccomp\.h' 'user/ops/seccomp\.c'
door 'pcre2' 'user/moesif/[a-z0-9_]+\.c'
door 'brotli/|zstd\.h' 'user/moesif/[a-z0-9_]+\.c'

[ $bad = 0 ] && echo "ok - includes: layers and doors hold"
exit $bad
