# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# Debian packages of other architectures and suites. The host's apt downloads them with a separate
# state, so that nothing on the host changes and its proxy and other settings apply. Signatures are
# always verified.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints the mirror that the host uses for its own release.
mirror() {
	if [[ -n ${RK_DMA_HEAP_MIRROR:-} ]]; then
		printf '%s' "${RK_DMA_HEAP_MIRROR%/}"
		return
	fi
	local codename state found
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-none}")
	state=$(mktemp -d)
	mkdir -p "$state/lists/partial"
	found=$(apt-get -o Dir::State::lists="$state/lists" -o Debug::NoLocking=true \
		update --print-uris |
		sed -n "s|^'\(.*\)/dists/$codename/InRelease' .*|\1|p" | head -n 1)
	rm -rf "$state"
	[[ -n $found && $found != cdrom* ]] ||
		die "apt has no Debian mirror: set RK_DMA_HEAP_MIRROR to the URL of one"
	printf '%s' "$found"
}

# Prints the host's settings for downloads, as lines of an apt configuration file.
host_apt_settings() {
	apt-config dump --no-empty Acquire |
		grep -E '^Acquire::(http|https|ftp|Check-|Max-|Retries|ForceIPv)' || true
}

# archive_open STATE ARCHITECTURES MIRROR STABLE SUITE: prepares STATE so that `archive STATE apt-…`
# uses the suites STABLE and SUITE. ARCHITECTURES is separated by spaces; the first is apt's own.
archive_open() {
	local state=$1 architectures=$2 mirror=$3 stable=$4 suite=$5
	mkdir -p "$state"/{lists/partial,cache/archives/partial,etc,log}
	: >"$state/status"
	cat >"$state/etc/sources.sources" <<-END
		Types: deb
		URIs: $mirror
		Suites: $stable $suite
		Components: main
		Architectures: $architectures
		Signed-By: $keyring
	END
	cat >"$state/apt.conf" <<-END
		APT::Architecture "${architectures%% *}";
		APT::Architectures { "${architectures// /\"; \"}"; };
		APT::Default-Release "$suite";
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
		Acquire::AllowInsecureRepositories "false";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Dir::State "$state";
		Dir::State::status "$state/status";
		Dir::Cache "$state/cache";
		Dir::Log "$state/log";
		Dir::Etc::SourceList "$state/etc/sources.sources";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
	END
	archive "$state" apt-get update
}

# Each suite has two names: a mirror may hold an index that does not verify under one of them.
stable_names=(trixie stable)
backports_names=(trixie-backports stable-backports)

# use_suite SUITE: lets open_archive use SUITE, if it is not trixie, in place of trixie and its
# backports.
use_suite() {
	[[ $1 == trixie ]] || stable_names=("$1") backports_names=("$1")
}

# open_archive STATE ARCHITECTURES: calls archive_open with the names that verify, and sets `stable`
# and `backports` to them.
open_archive() {
	for stable in "${stable_names[@]}"; do
		for backports in "${backports_names[@]}"; do
			rm -rf "$1/lists"
			if archive_open "$1" "$2" "$(mirror)" "$stable" "$backports"; then
				return
			fi
			note "an index of $stable or $backports for $2 does not verify"
		done
	done
	return 1
}

# archive STATE COMMAND...: runs COMMAND with the apt configuration of STATE.
archive() {
	APT_CONFIG=$1/apt.conf "${@:2}"
}

# archive_field STATE PACKAGE FIELD: prints a field of the newest version of a package.
archive_field() {
	archive "$1" apt-cache show --no-all-versions "$2" | sed -n "s/^$3: //p" | head -n 1
}

archive_has() {
	[[ -n $(archive_field "$1" "$2" Version) ]]
}

# archive_unpack STATE FOLDER PACKAGE[=VERSION]...: resumes interrupted downloads.
archive_unpack() {
	local state=$1 folder=$2 deb
	shift 2
	mkdir -p "$state/debs"
	(cd "$state/debs" && archive "$state" apt-get download "$@")
	for deb in "$state"/debs/*.deb; do
		dpkg-deb --extract "$deb" "$folder"
		rm "$deb"
	done
}

# fetch_tools NAME PACKAGE...: unpacks packages of the build root's suite, which run on this
# machine, in the current folder. NAME is that of apt's state.
fetch_tools() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local state=$cache/apt/$1 stable backports
	shift
	open_archive "$state" amd64
	archive_unpack "$state" "$PWD" "${@/%//$stable}"
	rm -rf "$state/cache/archives"
}
