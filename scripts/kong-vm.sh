#!/usr/bin/env bash
# The end-to-end suite against real Kongs, in a virtual machine on a developer's own machine. It needs KVM, the network,
# qemu-system-x86, qemu-utils, cloud-image-utils, curl, git and an ssh client, and no rights on the host but to use /dev/kvm.
# What is tested is the last commit.
#
#   scripts/kong-vm.sh --image URL|FILE --packages URL [--kong VERSION]… [--diff] [--keep] [--dry-run]
#
#   --image      a Debian 12 cloud image for amd64 (generic, qcow2), as Debian publishes them
#   --packages   where Kong's packages lie: VERSION in it is replaced, as in https://HOST/…/kong_VERSION_amd64.deb
#   --kong       a version to test, as often as there are versions (3.9.1)
#   --plugin     LuaRocks name of the Moesif plugin to compare with, for --diff (kong-plugin-moesif)
#   --diff       also compare the plugin's events with kongtap's (make diff-kong)
#   --keep       shut the machine down in the end, and leave its disk in build/kong-vm until the next run
#   --dry-run    print what would be done, and do nothing
#
# For each version the machine installs the package, and `make test-kong` starts that Kong without a database, with the
# suite's declarative file. Exit code: 0 every version passed, 1 one did not, 2 wrong use.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
	echo "kong-vm: $*" >&2
	exit 2
}

image='' packages='' plugin=kong-plugin-moesif diff='' keep='' dry=''
versions=()
while [ $# -gt 0 ]; do
	case $1 in
	--image | --packages | --kong | --plugin)
		[ $# -ge 2 ] || fail "$1 wants a value"
		case $1 in
		--image) image=$2 ;;
		--packages) packages=$2 ;;
		--kong) versions+=("$2") ;;
		--plugin) plugin=$2 ;;
		esac
		shift 2
		;;
	--diff) diff=1; shift ;;
	--keep) keep=1; shift ;;
	--dry-run) dry=1; shift ;;
	-h | --help) usage && exit 0 ;;
	*) fail "unknown argument: $1 (--help lists them)" ;;
	esac
done
[ -n "$image" ] || fail "--image is needed (--help)"
[[ $image == *://* || -f $image ]] || fail "--image: no such file: $image"
[[ $packages == *VERSION* ]] || fail "--packages is needed, with VERSION in it (--help)"
[ ${#versions[@]} -gt 0 ] || versions=(3.9.1)
for v in "${versions[@]}"; do
	[[ $v =~ ^[0-9]+(\.[0-9]+)*$ ]] || fail "no version of Kong: $v"
done

work=build/kong-vm
port=10022
# Never asks anything: until the machine has its key, a password would be asked for.
ssh=(ssh -q -n -i "$work/key" -p "$port" -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no
	-o UserKnownHostsFile=/dev/null debian@127.0.0.1)

# What is missing is to be known before the image is fetched.
check_host() {
	local p missing=()
	for p in qemu-system-x86_64 qemu-img cloud-localds curl git ssh ssh-keygen; do
		command -v "$p" >/dev/null || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] || fail "missing on this machine: ${missing[*]}" \
		"(apt install qemu-system-x86 qemu-utils cloud-image-utils curl git openssh-client)"
	[ -w /dev/kvm ] || fail "/dev/kvm cannot be used: hardware virtualisation is needed, and membership of the group kvm"
}

# Each step goes through here, so that --dry-run prints all of them.
step() {
	if [ -n "$dry" ]; then
		printf '%q ' "$@"
		printf '\n'
	else
		"$@"
	fi
}

get_image() {
	if [ -f "$image" ]; then
		step cp "$image" $work/base.qcow2
	else
		step curl -fL --retry 3 -o $work/base.qcow2 "$image"
	fi
}

write_seed() {
	if [ -n "$dry" ]; then
		echo "# cloud-init: user debian with a key made for this machine, sudo without a password"
		return
	fi
	cat >$work/user-data <<-END
		#cloud-config
		ssh_authorized_keys: ["$(cat $work/key.pub)"]
		growpart: {mode: auto, devices: ["/"]}
	END
	echo 'instance-id: kong-vm' >$work/meta-data
}

boot() {
	step qemu-system-x86_64 -enable-kvm -cpu host -smp 4 -m 4096 -display none -daemonize -pidfile $work/pid \
		-drive "file=$work/disk.qcow2,if=virtio" -drive "file=$work/seed.img,if=virtio,format=raw" \
		-nic "user,model=virtio,hostfwd=tcp:127.0.0.1:$port-:22"
	if [ -n "$dry" ]; then
		echo "# waits until ssh answers"
		return
	fi
	for _ in $(seq 120); do
		"${ssh[@]}" true 2>/dev/null && return
		sleep 2
	done
	echo "kong-vm: the machine does not answer to ssh" >&2
	exit 1
}

shut_down() {
	if [ -n "$dry" ]; then
		return
	fi
	if [ -n "$keep" ] && [ -e $work/pid ] && "${ssh[@]}" sudo systemctl poweroff; then
		for _ in $(seq 60); do
			kill -0 "$(cat $work/pid 2>/dev/null)" 2>/dev/null || break
			sleep 1
		done
	fi
	if [ -e $work/pid ]; then kill "$(cat $work/pid)" 2>/dev/null || true; fi
	if [ -z "$keep" ]; then rm -rf $work; fi
}

copy_tree() {
	local with_input=("${ssh[@]/#-n/-T}")
	if [ -n "$dry" ]; then
		echo "git archive HEAD | ${with_input[*]} 'mkdir -p kongtap && tar -x -C kongtap'"
	else
		git archive HEAD | "${with_input[@]}" 'mkdir -p kongtap && tar -x -C kongtap'
	fi
}

test_version() {
	local v=$1 url=${packages//VERSION/$1} command
	command="curl -fL --retry 3 -o /tmp/kong.deb '$url' && sudo apt-get install -y -qq --allow-downgrades /tmp/kong.deb"
	step "${ssh[@]}" "$command" || return 1
	step "${ssh[@]}" 'cd kongtap && sudo make test-kong' || return 1
	if [ -n "$diff" ]; then
		step "${ssh[@]}" "sudo apt-get install -y -qq unzip && sudo luarocks install $plugin && cd kongtap && sudo make diff-kong" || return 1
	fi
}

[ -n "$dry" ] || check_host
trap shut_down EXIT
step mkdir -p $work
step rm -f $work/key $work/key.pub $work/disk.qcow2 $work/pid
get_image
step ssh-keygen -q -t ed25519 -N '' -f $work/key
write_seed
step qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 $work/disk.qcow2 20G
step cloud-localds $work/seed.img $work/user-data $work/meta-data
boot
# What the machine does at its first start holds apt's locks.
step "${ssh[@]}" 'cloud-init status --wait >/dev/null || true'
copy_tree
step "${ssh[@]}" 'cd kongtap && sudo ./scripts/install-deps.sh run && make -j4'
failed=0
for v in "${versions[@]}"; do
	if test_version "$v"; then
		[ -n "$dry" ] || echo "ok - Kong $v"
	else
		echo "FAIL - Kong $v"
		failed=1
	fi
done
exit $failed
