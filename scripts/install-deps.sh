#!/usr/bin/env bash
# Installs what building (build), building for arm64 (cross), trying out (run), testing (test) and measuring (bench) kongtap
# needs, on Debian 12. Asks apt only for what is missing, so that it costs nothing the second time.
set -euo pipefail

build=(gcc make pkg-config clang-14 llvm-14 bpftool libbpf-dev libelf-dev libjansson-dev libyaml-dev libnghttp2-dev
	libcurl4-openssl-dev zlib1g-dev libbrotli-dev libzstd-dev libpcre2-dev libssl-dev libcap-ng-dev libseccomp-dev
	libmicrohttpd-dev
	node-llhttp ca-certificates)
run=(nginx libnginx-mod-http-lua python3 iproute2 openssl curl procps)
tests=(libcmocka-dev libclang-rt-14-dev clang-format-14 clang-tidy-14 nghttp2-client wrk valgrind
	util-linux strace tmux chromium qemu-system-x86 cpio busybox-static libcap2-bin systemd man-db dpkg-dev python3-yaml debootstrap
	prometheus zsh fish mandoc python3-grpcio shellcheck lua-cjson)
bench=(bpftrace linux-perf)
cross=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

case ${1:-build} in
build) want=("${build[@]}") ;;
run) want=("${build[@]}" "${run[@]}") ;;
cross) want=("${build[@]}" "${cross[@]}") ;;
test) want=("${build[@]}" "${run[@]}" "${tests[@]}") ;;
bench) want=("${build[@]}" "${run[@]}" "${tests[@]}" "${bench[@]}") ;;
*) echo "usage: $0 [build|cross|run|test|bench]" >&2; exit 2 ;;
esac

missing=()
for p in "${want[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
	echo "This script knows Debian's packages only. Install what these hold, then run make: ${missing[*]}" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "Packages are missing (${missing[*]}) and installing them needs root: run it with sudo." >&2
	exit 1
fi
echo "Installing: ${missing[*]}"
# The stand-in gateway starts its own nginx; the distribution's service must not start beside it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
