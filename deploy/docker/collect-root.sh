#!/bin/bash
# A root file system that holds one program and what it needs at run time. collect-root.sh PROGRAM DIRECTORY
set -euo pipefail
program=$1 root=$2
mkdir -p "$root"/{etc/ssl/certs,proc,sys,tmp,usr/sbin,var/lib/kongtap}
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/kongtap"
install -m 755 "$program" "$root/usr/sbin/kongtap"

# As the loader would find them; a library that it does not find ends this.
libraries=$(ldd "$program")
if grep 'not found' <<<"$libraries" >&2; then
	exit 1
fi
# The loader itself is named without =>. The C library opens the name services by itself.
{
	sed -nE 's/^\s*(\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/\2/p' <<<"$libraries"
	libc=$(sed -nE 's/^\s*libc\.so\.6 => (\S+) .*/\1/p' <<<"$libraries")
	for name in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
		[ ! -e "$(dirname "$libc")/$name" ] || echo "$(dirname "$libc")/$name"
	done
} | sort -u | while read -r file; do
	install -D -m 755 "$(readlink -f "$file")" "$root$file"
done

cp "$(readlink -f /etc/ssl/certs/ca-certificates.crt)" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
