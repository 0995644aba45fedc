# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# U-Boot for QEMU's machine `virt`: Debian's own, and the same one with support for overlays.

# What differs from Debian's configuration: overlays, and a tool that needs a library which the
# build root lacks.
u_boot_options='s/^# CONFIG_OF_LIBFDT_OVERLAY is not set$/CONFIG_OF_LIBFDT_OVERLAY=y/
s/^CONFIG_TOOLS_MKEFICAPSULE=y$/# CONFIG_TOOLS_MKEFICAPSULE is not set/'

# fetch_u_boot: creates in the current folder debian.bin and config, from Debian's package, and
# source, from the source of that package with its patches.
fetch_u_boot() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local state=$cache/apt/u-boot stable backports version part patch
	open_archive "$state" amd64
	version=$(archive_field "$state" u-boot-qemu Version)
	archive_unpack "$state" unpacked "u-boot-qemu=$version"
	cp unpacked/usr/lib/u-boot/qemu_arm64/u-boot.bin debian.bin
	gzip -dc unpacked/usr/share/doc/u-boot-qemu/configs/config.qemu_arm64.gz >config

	sed -i 's/^Types: deb$/Types: deb-src/' "$state/etc/sources.sources"
	archive "$state" apt-get update
	# The signed index has the hashes of these two files; the third one, .dsc, is not needed.
	for part in tar diff; do
		archive "$state" apt-get source --download-only "--$part-only" "u-boot=$version"
	done
	mkdir source
	tar --extract --strip-components=1 --directory source --file u-boot_*.orig.tar.*
	tar --extract --directory source --file u-boot_*.debian.tar.*
	while read -r patch; do
		GIT_CEILING_DIRECTORIES=$PWD git -C source apply --whitespace=nowarn \
			"debian/patches/$patch"
	done < <(grep -v '^ *\(#\|$\)' source/debian/patches/series)
	rm -rf unpacked u-boot_* "$state/cache/archives"
}

# build_u_boot FETCHED ROOT OPTIONS: builds u-boot.bin in the current folder, with Debian's
# configuration changed by the sed script OPTIONS. The build root ROOT only selects the stage.
build_u_boot() {
	local fetched=$1 options=$3
	local arguments=(-C "$fetched/source" O="$PWD/build" CROSS_COMPILE=aarch64-linux-gnu-
		CC=aarch64-linux-gnu-gcc-14 DTC=/usr/bin/dtc)
	mkdir build
	sed "$options" "$fetched/config" >build/.config
	"$project/qemu/enter" make "${arguments[@]}" olddefconfig
	# The build root's compiler may be another revision of the same version.
	diff <(sed "$options" "$fetched/config" | u_boot_choices) <(u_boot_choices <build/.config)
	"$project/qemu/enter" make "${arguments[@]}" -j "$(nproc)" u-boot.bin
	mv build/u-boot.bin .
	rm -rf build
}

# Prints the options of a configuration, without the versions of tools.
u_boot_choices() {
	grep '^\(# \)\?CONFIG_' | grep -v '_VERSION='
}

need_u_boot() {
	stage u-boot-source "U-Boot's source" u-boot-source fetch_u_boot
	stage u-boot 'U-Boot for QEMU, which is built here (minutes)' u-boot build_u_boot \
		"$(readlink "$setup_folder/u-boot-source")" "$(readlink "$root")" "$u_boot_options"
}
