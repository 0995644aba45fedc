# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Debian packages of other architectures and suites, fetched by the host's apt with a state of its own, so that nothing
# on the host changes and the host's proxy and other settings hold. Signatures are always verified.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror that the host itself uses for its own release.
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
	found=$(apt-get -o Dir::State::lists="$state/lists" -o Debug::NoLocking=true update --print-uris |
		sed -n "s|^'\(.*\)/dists/$codename/InRelease' .*|\1|p" | head -n 1)
	rm -rf "$state"
	[[ -n $found && $found != cdrom* ]] ||
		die "no Debian mirror found in the apt configuration; name one: RK_DMA_HEAP_MIRROR=http://HOST/debian"
	printf '%s' "$found"
}

# The host's own settings for downloads, as lines of an apt configuration file.
host_apt_settings() {
	apt-config dump --no-empty Acquire | grep -E '^Acquire::(http|https|ftp|Check-|Max-|Retries|ForceIPv)' || true
}

# archive_open STATE ARCHITECTURES MIRROR STABLE SUITE: after it, `archive STATE apt-…` sees the suites STABLE and SUITE.
# Of several architectures, with spaces between them, the first is apt's own.
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

# The same suites under their two names: a mirror may hold an index under one of them that does not verify.
stable_names=(trixie stable)
backports_names=(trixie-backports stable-backports)

# open_archive STATE ARCHITECTURES: archive_open with those that verify, which are in `stable` and `backports` after it.
open_archive() {
	for stable in "${stable_names[@]}"; do
		for backports in "${backports_names[@]}"; do
			rm -rf "$1/lists"
			if archive_open "$1" "$2" "$(mirror)" "$stable" "$backports"; then
				return
			fi
			note "an index of $stable or $backports for $2 does not verify on this mirror"
		done
	done
	return 1
}

archive() {
	APT_CONFIG=$1/apt.conf "${@:2}"
}

# One field of the newest version of a package.
archive_field() {
	archive "$1" apt-cache show --no-all-versions "$2" | sed -n "s/^$3: //p" | head -n 1
}

archive_has() {
	[[ -n $(archive_field "$1" "$2" Version) ]]
}

# archive_unpack STATE FOLDER PACKAGE[=VERSION]...: an interrupted download goes on where it stopped.
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
