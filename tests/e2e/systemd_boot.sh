#!/bin/bash
# Boots systemd in namespaces of its own over a copy-on-write view of this machine, with kongtap's package unpacked, and
# runs `kongtap check` there as the installed service: every directive of the unit is in force. What it says goes to
# DIRECTORY/log; DIRECTORY/done is there at the end. Whoever started it ends it.
#
# The agent itself refuses to run there, since the namespaces include that of process ids. What the service manager does
# for it, credentials, user, capabilities, file systems, filters, is the same for check.
#
# systemd_boot.sh PACKAGE DIRECTORY
set -euo pipefail
package=$1 directory=$2

if [ "${3:-}" != inside ]; then
	mkdir -p "$directory/view"
	exec unshare --fork --pid --kill-child --mount --ipc --uts --cgroup --net -- "$0" "$package" "$directory" inside
fi

mount --make-rprivate /
view=$directory/view
mount -t tmpfs tmpfs "$view"
mkdir "$view"/{upper,work,root}
root=$view/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$view/upper,workdir=$view/work" "$root"
mount -t proc proc "$root/proc"
# The kernel's settings are those of this machine: nothing that boots here may change them.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount --rbind /sys "$root/sys"
mount --make-rslave "$root/sys"
umount -l "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
for place in run tmp; do
	mount -t tmpfs tmpfs "$root/$place"
done
mkdir "$root/run/out"
mount --bind "$directory" "$root/run/out"

dpkg-deb -x "$package" "$root"
install -m 600 <(echo test-application-id) "$root/etc/kongtap/application-id"
units=$root/run/systemd/system
mkdir -p "$units/kongtap.service.d"
# Nothing of this machine's own services is to start: no default dependencies.
cat >"$units/kongtap.service.d/test.conf" <<'U'
[Unit]
DefaultDependencies=no
Wants=
After=

[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/sbin/kongtap check --config /etc/kongtap/kongtap.yaml --api-endpoint http://127.0.0.1:1
ExecStartPost=
StandardOutput=append:/run/out/log
StandardError=append:/run/out/log
U
cat >"$units/probe.service" <<'U'
[Unit]
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'systemctl start kongtap.service; systemctl show kongtap.service -p Result -p ExecMainStatus >>/run/out/log; ls -ld /var/lib/private/kongtap >>/run/out/log; : >/run/out/done'
U
printf '[Unit]\nDefaultDependencies=no\nRequires=probe.service\n' >"$units/probe.target"

# Credentials are mounted into the service's view from outside of it: that wants a shared root.
mount --rbind "$root" "$root"
mount --make-rprivate "$root"
cd "$root"
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
export container=kongtap-test
exec /lib/systemd/systemd --system --unit=probe.target --log-target=console --show-status=0
