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

# archive_open STATE ARCHITECTURE MIRROR SUITE: after it, `archive STATE apt-…` sees the stable release and SUITE.
archive_open() {
	local state=$1 architecture=$2 mirror=$3 suite=$4
	mkdir -p "$state"/{lists/partial,cache/archives/partial,etc,log}
	: >"$state/status"
	cat >"$state/etc/sources.sources" <<-END
		Types: deb
		URIs: $mirror
		Suites: trixie $suite
		Components: main
		Architectures: $architecture
		Signed-By: $keyring
	END
	cat >"$state/apt.conf" <<-END
		APT::Architecture "$architecture";
		APT::Architectures { "$architecture"; };
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

# The same suite under its two names: a mirror may hold an index under one of them that does not verify.
backports=(trixie-backports stable-backports)

# open_backports STATE ARCHITECTURE: archive_open with whichever of them verifies, which is in `suite` after it.
open_backports() {
	for suite in "${backports[@]}"; do
		rm -rf "$1/lists"
		if archive_open "$1" "$2" "$(mirror)" "$suite"; then
			return
		fi
		note "the index of $suite for $2 does not verify on this mirror"
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
