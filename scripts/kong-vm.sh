#!/usr/bin/env bash
# The end-to-end suite against real Kongs, in a virtual machine on a developer's own machine. It needs KVM, the network,
# qemu-system-x86, qemu-utils, cloud-image-utils and an ssh client, and no rights on the host.
#
#   scripts/kong-vm.sh --image URL|FILE --packages URL [--kong VERSION]… [--diff] [--keep] [--dry-run]
#
#   --image      a Debian 12 cloud image for amd64 (generic, qcow2), as Debian publishes them
#   --packages   where Kong's packages lie: VERSION in it is replaced, as in https://HOST/…/kong_VERSION_amd64.deb
#   --kong       a version to test, as often as there are versions (3.9.1)
#   --plugin     LuaRocks name of the Moesif plugin to compare with, for --diff (kong-plugin-moesif)
#   --diff       also compare the plugin's events with kongtap's (make diff-kong)
#   --keep       leave the machine's disk in build/kong-vm
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
[[ $packages == *VERSION* ]] || fail "--packages is needed, with VERSION in it (--help)"
[ ${#versions[@]} -gt 0 ] || versions=(3.9.1)
for v in "${versions[@]}"; do
	[[ $v =~ ^[0-9]+(\.[0-9]+)*$ ]] || fail "no version of Kong: $v"
done

work=build/kong-vm
port=10022
ssh=(ssh -q -i "$work/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null debian@127.0.0.1)

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
	if [ -e $work/pid ]; then kill "$(cat $work/pid)" 2>/dev/null || true; fi
	if [ -z "$keep" ]; then rm -rf $work; fi
}

copy_tree() {
	if [ -n "$dry" ]; then
		echo "git archive HEAD | ${ssh[*]} 'mkdir -p kongtap && tar -x -C kongtap'"
	else
		git archive HEAD | "${ssh[@]}" 'mkdir -p kongtap && tar -x -C kongtap'
	fi
}

test_version() {
	local v=$1 url=${packages//VERSION/$1} command
	command="curl -fL --retry 3 -o /tmp/kong.deb '$url' && sudo apt-get install -y -qq --allow-downgrades /tmp/kong.deb"
	step "${ssh[@]}" "$command" || return 1
	step "${ssh[@]}" 'cd kongtap && sudo make test-kong' || return 1
	if [ -n "$diff" ]; then
		step "${ssh[@]}" "sudo luarocks install $plugin && cd kongtap && sudo make diff-kong" || return 1
	fi
}

trap shut_down EXIT
step mkdir -p $work
get_image
step ssh-keygen -q -t ed25519 -N '' -f $work/key
write_seed
step qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 $work/disk.qcow2 20G
step cloud-localds $work/seed.img $work/user-data $work/meta-data
boot
copy_tree
step "${ssh[@]}" 'cd kongtap && sudo ./scripts/install-deps.sh test && make -j4'
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
