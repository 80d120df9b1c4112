#!/usr/bin/env bash
# Builds a Debian package from the built tree (make deb calls it): what `make install PREFIX=/usr` installs, with the
# libraries it is linked with as dependencies. The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${O:-build}
umask 022
version=$(sed -n 's/.*KONGTAP_VERSION "\(.*\)".*/\1/p' user/version.h)-1
arch=$(dpkg --print-architecture)
maintainer=${DEB_MAINTAINER:-kongtap packagers <kongtap@localhost>}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/DEBIAN" "$work/debian"

make -s O="$out" install DESTDIR="$root" PREFIX=/usr ZSHDIR=/usr/share/zsh/vendor-completions \
	>/dev/null
strip --strip-unneeded "$root/usr/sbin/kongtap"
gzip -9n "$root/usr/share/man/man8/kongtap.8"
doc=$root/usr/share/doc/kongtap
install -D -m 644 README.md "$doc/README.md"
{
	printf 'kongtap (%s) unstable; urgency=medium\n\n  * As of commit %s.\n\n' "$version" \
		"$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
	printf ' -- %s  %s\n' "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.Debian.gz"

# Which packages, from which version on, hold the symbols that the program takes from its libraries.
printf 'Source: kongtap\n\nPackage: kongtap\nArchitecture: any\nDescription: x\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/sbin/kongtap" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "make-deb.sh: dpkg-shlibdeps found no libraries" >&2; exit 1; }

cat >"$root/DEBIAN/control" <<C
Package: kongtap
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Recommends: ca-certificates
Section: net
Priority: optional
Description: Moesif events of Kong Gateway, captured from outside
 kongtap watches the nginx workers of Kong Gateway by eBPF programs on system
 calls and on OpenSSL functions, puts requests and responses back together,
 finds out which user and company made each call, and ships Moesif events.
 Kong is not touched: no plugin, no proxy, no restart.
C
echo /etc/kongtap/kongtap.yaml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
	>"$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$out/kongtap_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
