#!/bin/sh
# The man page: its text, and the options as the program itself lists them. make-man.sh KONGTAP TEMPLATE >kongtap.8
set -eu
kongtap=$1 template=$2
version=$("$kongtap" --version)
version=${version##* }
options=$(mktemp)
trap 'rm -f "$options"' EXIT

"$kongtap" help reference | awk '
function roff(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	gsub(/`/, "", text)
	if (text ~ /^[.'\'']/)
		text = "\\&" text
	return text
}
function trim(text) {
	gsub(/^ +| +$/, "", text)
	return text
}
/^## / {
	print ".SS " roff(substr($0, 4))
}
/^\| `/ {
	gsub(/\\\|/, "\001")
	n = split($0, cell, "|")
	if (n != 6)
		exit 1
	for (i = 2; i < n; i++) {
		gsub("\001", "|", cell[i])
		cell[i] = trim(cell[i])
	}
	mark = sub(/ ◆$/, "", cell[2]) ? " *" : ""
	printf ".TP\n.BR %s \"%s\"\n", roff(cell[2]), mark
	text = cell[5]
	printf "%s.\n%s", roff(toupper(substr(text, 1, 1)) substr(text, 2)), roff("Takes " cell[3])
	printf cell[4] == "`null`" || cell[4] == "`[]`" ? ".\n" : "; default %s.\n", roff(cell[4])
	options++
}
END {
	exit options < 20
}' >"$options"

sed -e "s/@VERSION@/$version/" -e "/^@OPTIONS@\$/{
r $options
d
}" "$template"
