# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of packages/archive
#
# The files of an APT archive around its packages: indexes and signatures.

# The suite that the board's line names.
archive_suite=trixie

# in_version KERNEL-VERSION: prints it as a part of a package's version, where a hyphen would begin
# a Debian revision.
in_version() {
	printf '%s' "${1//-/+}"
}

# What writes the indexes is not in the build root: another list of packages would be another root.
need_repository_tools() {
	stage repository 'writer of indexes for apt' repository fetch_tools repository apt-utils
}

ftparchive() {
	"$project/qemu/enter" "$setup_folder/repository/usr/bin/apt-ftparchive" "$@"
}

# The key is the user's, and stays where the user's gpg has it.
need_archive_key() {
	command -v gpg >/dev/null ||
		die "gpg is missing, which signs the archive; as root: apt-get install gpg"
	[[ ${ARCHIVE_KEY:-} ]] ||
		die "ARCHIVE_KEY does not name the key that signs the archive: make one by \
gpg --quick-generate-key my-archive ed25519 sign never, and give ARCHIVE_KEY=my-archive"
	gpg --list-secret-keys "$ARCHIVE_KEY" >/dev/null 2>&1 ||
		die "gpg has no secret key '$ARCHIVE_KEY': see gpg --list-secret-keys"
	# A build takes long, and gpg may ask for a passphrase.
	sign <<<'test' >/dev/null || die "gpg cannot sign with the key '$ARCHIVE_KEY'"
}

# Signs standard input, and prints both.
sign() {
	gpg --quiet --local-user "$ARCHIVE_KEY" --digest-algo SHA512 --clearsign
}

# Writes the indexes of all packages in the archive, and signs them. All is written before anything
# is replaced.
write_indexes() {
	local new=$work/dists/$archive_suite architecture folder
	rm -rf "$work/dists"
	for architecture in arm64 armhf amd64; do
		folder=$new/main/binary-$architecture
		mkdir -p "$folder"
		(cd "$archive" && ftparchive -o APT::FTPArchive::MD5=false \
			-o APT::FTPArchive::SHA1=false --arch "$architecture" packages pool) \
			>"$folder/Packages"
		"$project/qemu/enter" xz --keep "$folder/Packages"
	done
	(cd "$new" && ftparchive -o APT::FTPArchive::MD5=false -o APT::FTPArchive::SHA1=false \
		-o APT::FTPArchive::Release::Origin=rk-dma-heap \
		-o APT::FTPArchive::Release::Label=rk-dma-heap \
		-o APT::FTPArchive::Release::Suite="$archive_suite" \
		-o APT::FTPArchive::Release::Codename="$archive_suite" \
		-o APT::FTPArchive::Release::Components=main \
		-o APT::FTPArchive::Release::Architectures='arm64 armhf amd64' \
		release .) >"$work/Release"
	mv "$work/Release" "$new/Release"
	sign <"$new/Release" >"$new/InRelease"
	gpg --armor --export "$ARCHIVE_KEY" >"$work/key"
	write_source "$work/key" >"$work/sources"
	mv "$work/sources" "$archive/rk-dma-heap.sources"
	rm -rf "$archive/dists"
	mv "$work/dists" "$archive"
}

# write_source KEY: prints what a board needs in /etc/apt/sources.list.d, with the public key.
write_source() {
	printf '%s\n' 'Types: deb' "URIs: ${ARCHIVE_URL:-http://$(uname -n):8000}" \
		"Suites: $archive_suite" 'Components: main' 'Signed-By:'
	sed 's/^$/./; s/^/ /' "$1"
}

# prune N: removes all but the newest N kernels of each flavour, and all but the newest N versions
# of each package.
prune() {
	local keep=$1 before file name architecture module \
		ours='^(rk-dma-heap(-(common|dev|dkms|modules-.*))?|rkheap)_'
	before=$(find "$pool" -name '*.deb' | wc -l)
	# ARCHITECTURE-FLAVOUR RELEASE, newest first
	find "$pool" -name 'rk-dma-heap-modules-*.deb' -printf '%f\n' |
		sed -E 's/^rk-dma-heap-modules-(([^_-]*)-([^_]*))_.*_([^_]*)\.deb$/\4-\3 \1/' |
		sort -u | sort -k1,1 -k2,2Vr |
		awk -v keep="$keep" '{ if (++seen[$1] > keep) print $2 }' |
		while read -r name; do
			rm "$pool/rk-dma-heap-modules-${name}_"*.deb
		done
	# NAME_ARCHITECTURE VERSION, newest first.
	find "$pool" -name '*.deb' -printf '%f\n' |
		sed -E 's/^([^_]*)_([^_]*)_([^_]*)\.deb$/\1_\3 \2/' |
		sort -k1,1 -k2,2Vr |
		awk -v keep="$keep" -v ours="$ours" '$1 ~ ours && ++seen[$1] > keep' |
		while read -r name file; do
			architecture=${name##*_}
			rm "$pool/${name%_*}_${file}_$architecture.deb"
		done
	# Metapackages whose module is gone.
	for file in "$pool"/rk-dma-heap-*.deb; do
		module=$(dpkg-deb --field "$file" Depends |
			sed -nE 's/.*(rk-dma-heap-modules-[^ ]*) \(>= ([^)]*)\)$/\1_\2/p')
		architecture=${file##*_}
		if [[ $module ]] && [[ ! -e $pool/${module}_$architecture ]]; then
			rm "$file"
		fi
	done
	printf '%d packages removed, which were older than the newest %d\n' \
		$((before - $(find "$pool" -name '*.deb' | wc -l))) "$keep"
}
