#!/usr/bin/env bash
# Builds kongtap for arm64 on another architecture: build-arm64/kongtap and, with `tools` as argument, the test tools.
# The compiler is Debian's cross compiler; the libraries are Debian's arm64 packages, unpacked below build-arm64 and not
# installed. Arguments go to make. Needs scripts/install-deps.sh cross.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build-arm64
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
libraries=(libc6-dev libbpf-dev libelf-dev libjansson-dev libyaml-dev libnghttp2-dev libcurl4-openssl-dev zlib1g-dev
	libbrotli-dev libzstd-dev libpcre2-dev libssl-dev libcap-ng-dev libseccomp-dev libmicrohttpd-dev)

./scripts/install-deps.sh cross
./scripts/debian-packages.sh $out/sysroot arm64 "$release" root "${libraries[@]}"
root=$PWD/$out/sysroot/root
export PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig
exec make O=$out ARCH=arm64 CC="aarch64-linux-gnu-gcc --sysroot=$root" AR=aarch64-linux-gnu-ar "${@:-all}"
