#!/usr/bin/env bash
# Debian packages of another architecture or release than this host's, unpacked into a directory: nothing is installed and
# the state of the host's apt stays as it is. They come from where the host's own packages come, with its keys.
#
#   debian-packages.sh DIR ARCH RELEASE root PACKAGE…     these with all that they depend on, into DIR/root
#   debian-packages.sh DIR ARCH RELEASE kernel PACKAGE    the kernel behind a meta package: prints the name of the one that
#                                                         it points at, NAME; the kernel is DIR/NAME/vmlinuz
# DIR keeps lists and packages, so that a second run fetches only what is new. Lists older than a day are fetched again.
set -euo pipefail
if [ $# -lt 5 ]; then
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
	exit 2
fi
arch=$2 release=$3 what=$4
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift 4
state=$dir/apt-$arch-$release
# Two at once, for two kernels of one release, would pull each other's lists away.
exec 9>"$state.lock"
flock 9
export APT_CONFIG=$state/apt.conf DEBIAN_FRONTEND=noninteractive

mirror() { # archive (main or security)
	# shellcheck disable=SC2016 # apt fills the format in
	env -u APT_CONFIG apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v kind="$1" '$1 == "Debian" && $3 == "main" && ($2 ~ /-security$/) == (kind == "security") { print $4; exit }'
}

prepare() {
	local main security key=/usr/share/keyrings/debian-archive-keyring.gpg
	main=$(mirror main) security=$(mirror security)
	if [ -z "$main" ]; then
		echo "No Debian archive among this host's package sources." >&2
		exit 1
	fi
	mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/none"
	: >"$state/status"
	{
		echo "deb [signed-by=$key] $main $release main"
		case $release in
		sid | *-backports) ;;
		*) [ -z "$security" ] || echo "deb [signed-by=$key] $security $release-security main" ;;
		esac
	} >"$state/sources.list"
	cat >"$APT_CONFIG" <<-END
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Dir::State "$state";
		Dir::State::status "$state/status";
		Dir::State::lists "$state/lists";
		Dir::Cache "$state";
		Dir::Cache::archives "$state/archives";
		Dir::Etc::sourcelist "$state/sources.list";
		Dir::Etc::sourceparts "$state/none";
		Dir::Etc::preferencesparts "$state/none";
		Debug::NoLocking "true";
	END
	if [ -z "$(find "$state/fresh" -mtime -1 2>/dev/null)" ]; then
		apt-get update -qq
		touch "$state/fresh"
	fi
}

# A link to an absolute path would lead out of the root: the same link, relative.
relative_links() {
	local link
	find "$1" -type l -lname '/*' | while read -r link; do
		ln -snfr "$1$(readlink "$link")" "$link"
	done
}

unpack_root() {
	local root=$dir/root p names
	names="$arch $release $*"
	# Downloading asks for nothing to be installed: apt works out the closure, and dpkg is never called.
	apt-get install -y -qq --download-only "$@" >/dev/null
	if [ "$(cat "$dir/root.of" 2>/dev/null)" = "$names" ] &&
		[ -z "$(find "$state/archives" -name '*.deb' -newer "$dir/root.of")" ]; then
		return
	fi
	rm -rf "$root" "$dir/root.of"
	mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib"
	for p in bin sbin lib; do ln -s "usr/$p" "$root/$p"; done
	for p in "$state"/archives/*.deb; do
		# tar keeps the links /bin, /sbin and /lib as they are.
		dpkg-deb --fsys-tarfile "$p" | tar -x -C "$root" --keep-directory-symlink
	done
	relative_links "$root"
	echo "$names" >"$dir/root.of"
}

unpack_kernel() {
	local package file
	package=$(apt-cache depends "$1" | sed -n 's/^  Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
	if [ -z "$package" ]; then
		echo "$1: no kernel package behind it in $release" >&2
		exit 1
	fi
	if [ ! -e "$dir/$package/vmlinuz" ]; then
		# Since Linux 7 the kernel itself is in a package of its own.
		file=linux-binary-${package#linux-image-}
		apt-cache show "$file" >/dev/null 2>&1 || file=$package
		mkdir -p "$dir/$package/unpacked"
		(cd "$state/archives" && apt-get download -qq "$file")
		dpkg-deb -x "$state/archives/$file"_*.deb "$dir/$package/unpacked"
		rm -f "$state/archives/$file"_*.deb
		find "$dir/$package/unpacked" -type f -name 'vmlinuz*' -exec cp {} "$dir/$package/vmlinuz" \;
		rm -rf "$dir/$package/unpacked"
	fi
	echo "$package"
}

prepare
case $what in
root) unpack_root "$@" ;;
kernel) unpack_kernel "$@" ;;
*) echo "root or kernel, not $what" >&2; exit 2 ;;
esac
