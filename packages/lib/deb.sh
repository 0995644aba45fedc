# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of the scripts that source this one
#
# Builds a Debian package from a folder. dpkg-deb is the Debian root's.

maintainer='The rk_dma_heap authors <rk-dma-heap@localhost>'

# The version of the project, which Cargo.toml states.
project_version() {
	sed -n 's/^version = "\([^"]*\)"$/\1/p' "$project/Cargo.toml"
}

# The version of all packages: that of the project, followed by the time and the name of the commit
# unless that is tagged as the release. The same commit gives the same packages, a later one has a
# version that apt regards as newer, and the release is newer than all commits before it. The source
# of a release, which is no clone, has the version of the release.
package_version() {
	local version
	version=$(project_version)
	[[ -n $version ]] || die "Cargo.toml names no version"
	if is_clone && ! git -C "$project" tag --points-at HEAD | grep -qxF "v$version"; then
		version+=~git$(TZ=UTC git -C "$project" show -s --format=%cd.%h \
			--date=format-local:%Y%m%d%H%M%S --abbrev=7 HEAD)
	fi
	printf '%s' "$version"
}

# Whether the project has commits of its own: not those of a folder above it.
is_clone() {
	[[ -e $project/.git ]] && git -C "$project" rev-parse --quiet --verify HEAD >/dev/null 2>&1
}

# Time of the commit in seconds, for all files in the packages.
commit_time() {
	if is_clone; then
		git -C "$project" show -s --format=%ct HEAD
	else
		stat -c %Y "$project/Cargo.toml"
	fi
}

# deb_begin NAME ARCHITECTURE SECTION [PRIORITY]: creates the folder of the package, in `folder`.
deb_begin() {
	name=$1 architecture=$2 section=$3 priority=${4:-optional}
	folder=$work/$name
	fields=()
	mkdir -p "$folder/DEBIAN"
	deb_file "$project/packages/copyright" "usr/share/doc/$name/copyright"
}

# deb_file SOURCE DESTINATION [MODE]: adds a file.
deb_file() {
	install -D -m "${3:-644}" "$1" "$folder/$2"
}

# deb_setting SOURCE DESTINATION: adds a file below /etc, which is the administrator's: dpkg keeps
# changes in it, and keeps the file until the package is purged.
deb_setting() {
	deb_file "$1" "$2"
	printf '/%s\n' "$2" >>"$folder/DEBIAN/conffiles"
}

# deb_override TAG REASON: silences a tag of lintian.
deb_override() {
	mkdir -p "$folder/usr/share/lintian/overrides"
	printf '# %s\n%s: %s\n' "$2" "$name" "$1" >>"$folder/usr/share/lintian/overrides/$name"
}

# deb_field NAME VALUE: adds a line to the control file.
deb_field() {
	fields+=("$1: $2")
}

# deb_script NAME FOLDER: adds a maintainer script, with @RELEASE@ and @VERSION@ replaced.
deb_script() {
	local script
	script=$(<"$project/packages/$2/$1")
	script=${script//@RELEASE@/${release:-}}
	printf '%s\n' "${script//@VERSION@/$version}" >"$folder/DEBIAN/$1"
	chmod 755 "$folder/DEBIAN/$1"
}

# What lintian reports and is meant to be so, with the reasons.
deb_overrides() {
	local file=usr/share/lintian/overrides/$name own=${name%-"${release:-}"} part
	for part in "$project"/packages/overrides/{all,"$own"} "$folder/$file"; do
		[[ ! -f $part ]] || cat "$part"
	done >"$work/overrides"
	deb_file "$work/overrides" "$file"
}

# deb_end SUMMARY: builds the package. Reads further lines of the description from standard input.
deb_end() {
	local summary=$1 line size
	printf '%s (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' \
		rk-dma-heap "$version" "Built from $version." "$maintainer" \
		"$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" |
		gzip -9n >"$work/changelog.gz"
	deb_file "$work/changelog.gz" "usr/share/doc/$name/changelog.gz"
	deb_overrides
	# Not by du, for which the size of a folder is that in this file system.
	size=$(find "$folder" -printf '%y %s\n' |
		awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
	{
		printf '%s\n' "Package: $name" "Source: rk-dma-heap" "Version: $version" \
			"Architecture: $architecture" "Maintainer: $maintainer" \
			"Installed-Size: $size" "${fields[@]}" "Section: $section" \
			"Priority: $priority" "Description: $summary"
		while read -r line; do
			printf ' %s\n' "${line:-.}"
		done
	} >"$folder/DEBIAN/control"
	# dpkg records the sums of settings itself.
	(cd "$folder" && find . \( -path ./DEBIAN -o -path ./etc \) -prune -o \
		-type f -printf '%P\0' | sort -z | xargs -0 --no-run-if-empty md5sum) \
		>"$work/md5sums"
	mv "$work/md5sums" "$folder/DEBIAN/md5sums"
	find "$folder" -type d -exec chmod 755 {} +
	find "$folder" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
	"$project/qemu/enter" env SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
		dpkg-deb --root-owner-group --build "$folder" \
		"$output/${name}_${version}_${architecture}.deb" >/dev/null
	printf '%s\n' "${output#"$project"/}/${name}_${version}_${architecture}.deb"
}
