# shellcheck shell=bash
# What the scripts in tools/ share; sourced, never run.
#
#   CACHE            where all that is fetched or built outside the tree is kept
#   say, die         one line on stderr; die ends the script
#   need             names a missing program and the way to get it
#   as_root          runs a command as root, or prints what to run as root
#   cache_once       fills a folder of the cache exactly once
#   arm64_fetch      fetches Debian's arm64 packages into a folder
#   arm64_unpack     unpacks Debian's arm64 packages into a folder
#
# Sourcing it sets bash's strict options: a command that fails ends the script, in substitutions too.
# A function that is called in a condition loses this, so the functions here are called plainly.

set -euo pipefail
shopt -s inherit_errexit
umask 022
PATH=$PATH:/usr/sbin:/sbin

CACHE=${MICROVM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/microvm}
# shellcheck disable=SC2034 # used by those who source this
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Debian's release of which the sysroot and the emulated host are made, whatever runs on this machine
RELEASE=bookworm
# shellcheck disable=SC2034 # used by those who source this
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

say()
{
	printf 'microvm: %s\n' "$*" >&2
}

die()
{
	say "$@"
	exit 1
}

# need PROGRAM SET: PROGRAM must be there; `tools/deps SET` would bring it
need()
{
	command -v "$1" >/dev/null || die "$1 is missing (run: tools/deps $2)"
}

# as_root COMMAND...: root runs it, others by sudo where that asks nothing or there is a terminal to ask on
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		sudo -n "$@"
	elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
		sudo "$@"
	else
		die "this needs root; run: ${AS_ROOT_HINT:-$*}"
	fi
}

# key_of TEXT...: a short name for a cache entry made from these words
key_of()
{
	printf '%s\n' "$@" | sha256sum | cut -c1-10
}

# cache_once KEY FUNCTION [ARGS...]: print the path of the cache entry KEY. Where it is missing, FUNCTION
# ARGS... DIR fills an empty DIR first, which gets its final name only when all went well. Runs at the same
# time wait for each other, and an interrupted one leaves nothing behind that the next does not remove.
cache_once()
{
	local key=$1 path=$CACHE/$1

	shift
	if [ ! -e "$path" ]; then
		mkdir -p "$(dirname "$path")" "$CACHE/locks"
		(
			flock 9
			[ ! -e "$path" ] || exit 0
			rm -rf "$path".tmp.*
			mkdir "$path.tmp.$$"
			"$@" "$path.tmp.$$" >&2
			mv -T "$path.tmp.$$" "$path"
		) 9>"$CACHE/locks/${key//\//_}"
	fi
	printf '%s\n' "$path"
}

# debian_sources RELEASE: apt source lines for RELEASE (bookworm, bookworm-backports), with the mirrors of
# this machine's own apt configuration. MICROVM_DEBIAN_MIRROR="URL [SECURITY-URL]" replaces them, and is
# needed where the machine is no Debian.
debian_sources()
{
	local release=$1 main='' security='' by='' uri suite

	if [ -n "${MICROVM_DEBIAN_MIRROR:-}" ]; then
		read -r main security <<<"$MICROVM_DEBIAN_MIRROR"
	elif grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
		while read -r uri suite; do
			case $suite in
			*-security) security=${security:-$uri} ;;
			*-* | */*) ;;
			bookworm | trixie | forky | *stable | testing | sid) main=${main:-$uri} ;;
			esac
		done < <(apt-get update --print-uris 2>/dev/null |
			sed -n "s|^'\(.*\)/dists/\(.*\)/InRelease'.*|\1 \2|p")
	fi
	[ -n "$main" ] || die "no Debian mirror in apt's configuration (set MICROVM_DEBIAN_MIRROR='URL')"
	[ ! -e "$KEYRING" ] || by="[signed-by=$KEYRING] "
	echo "deb $by$main $RELEASE main"
	echo "deb $by$main $RELEASE-updates main"
	[ -z "$security" ] || echo "deb $by$security $RELEASE-security main"
	[ "$release" = "$RELEASE" ] || echo "deb $by$main $release main"
}

# arm64_apt_configure RELEASE DIR: make DIR the state and the configuration of an apt for arm64 alone: this
# machine's dpkg and apt know nothing of it. The machine's way to the mirrors (proxies and the like) is kept.
arm64_apt_configure()
{
	local release=$1 dir=$2

	mkdir -p "$dir/lists/partial" "$dir/debs/partial" "$dir/empty"
	: >"$dir/status"
	{
		apt-config dump | grep '^Acquire::' || true
		cat <<-END
			APT::Architecture "arm64";
			#clear APT::Architectures;
			APT::Architectures { "arm64"; };
			APT::Sandbox::User "";
			APT::Install-Recommends "false";
			Acquire::Languages "none";
			Dir::State "$dir";
			Dir::State::lists "$dir/lists";
			Dir::State::status "$dir/status";
			Dir::Cache "$dir";
			Dir::Cache::archives "$dir/debs";
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "$dir/empty";
			Dir::Etc::sourcelist "$dir/sources.list";
			Dir::Etc::sourceparts "$dir/empty";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "$dir/empty";
		END
		[ "$release" = "$RELEASE" ] || echo "APT::Default-Release \"$release\";"
	} >"$dir/apt.conf"
	debian_sources "$release" >"$dir/sources.list"
}

# apt-get with that configuration, showing its progress to a terminal only
arm64_apt()
{
	local quiet=-qq

	[ ! -t 2 ] || quiet=-q=0
	(cd "$state/debs" && APT_CONFIG=$state/apt.conf DEBIAN_FRONTEND=noninteractive apt-get "$quiet" -y "$@" >&2)
}

# arm64_fetch RELEASE DIR PACKAGE...: fetch the files of these and of all they depend on into DIR; with --only before
# the packages, those alone
arm64_fetch()
{
	local release=$1 dir=$2 state=$CACHE/apt/$1 fetch='install --download-only'

	shift 2
	if [ "$1" = --only ]; then
		fetch=download
		shift
	fi
	need apt-get build
	mkdir -p "$state" "$CACHE/locks" "$dir"
	(
		flock 8
		arm64_apt_configure "$release" "$state"
		rm -f "$state"/debs/*.deb "$state/failed"
		if [ -z "$(find "$state/updated" -mmin -720 2>/dev/null)" ]; then
			say "fetching the package lists of Debian $release for arm64"
			arm64_apt update
			touch "$state/updated"
		fi
		say "fetching arm64 packages: $*"
		# shellcheck disable=SC2086 # two words
		arm64_apt $fetch "$@" || touch "$state/failed"
		if [ -e "$state/failed" ]; then
			# the lists may be older than the mirror's pool
			arm64_apt update
			# shellcheck disable=SC2086
			arm64_apt $fetch "$@"
		fi
		mv "$state"/debs/*.deb "$dir/"
	) 8>"$CACHE/locks/apt-$release"
}

# arm64_unpack RELEASE DIR PACKAGE...: unpack these and all they depend on into DIR, as a /usr-merged root;
# with --only before the packages, those alone. Nothing of them is run.
arm64_unpack()
{
	local release=$1 dir=$2 debs=$2.debs

	shift 2
	arm64_fetch "$release" "$debs" "$@"
	unpack_debs "$debs" "$dir"
	rm -rf "$debs"
}

# unpack_debs DEBS DIR [TAR-OPTION...]: unpack the packages in the folder DEBS into DIR, as a /usr-merged root
unpack_debs()
{
	local debs=$1 dir=$2 deb

	shift 2
	mkdir -p "$dir"/usr/{bin,sbin,lib}
	ln -sfn usr/bin "$dir/bin"
	ln -sfn usr/sbin "$dir/sbin"
	ln -sfn usr/lib "$dir/lib"
	for deb in "$debs"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -C "$dir" -x --no-same-owner --keep-directory-symlink "$@"
	done
}

# arm64_depends RELEASE PACKAGE: the names of what PACKAGE depends on (after an arm64_unpack of that release)
arm64_depends()
{
	APT_CONFIG=$CACHE/apt/$1/apt.conf apt-cache depends --important "$2" | sed -n 's/^ *Depends: //p'
}

# relative_links DIR: make the absolute symbolic links under DIR mean the same with DIR as the root
relative_links()
{
	local dir=$1 link target

	find "$dir" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
		target=$(readlink "$link")
		ln -sfnr "$dir$target" "$link"
	done
}
