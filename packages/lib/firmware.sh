# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# UEFI firmware for arm64 with Secure Boot, in which Microsoft's keys are enrolled, and what Debian
# boots with there. In the folder of the stage: root/, what is in the packages; debs/, those that a
# machine installs.

firmware_packages=(
	qemu-efi-aarch64
	shim-signed:arm64 shim-helpers-arm64-signed:arm64 grub-efi-arm64-signed:arm64
	# Writes to a file system in a file.
	mtools
)
firmware_debs=(mokutil:arm64 libefivar1t64:arm64 libkeyutils1:arm64)

# fetch_firmware PACKAGE... -- PACKAGE...
fetch_firmware() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local state=$cache/apt/firmware stable backports unpacked=()
	open_archive "$state" 'amd64 arm64'
	while [[ $1 != -- ]]; do
		unpacked+=("$1/$stable")
		shift
	done
	shift
	archive_unpack "$state" "$PWD/root" "${unpacked[@]}"
	mkdir debs
	(cd debs && archive "$state" apt-get download "${@/%//$stable}")
	rm -rf "$state/cache/archives"
}

need_firmware() {
	stage firmware 'UEFI firmware, shim and GRUB for arm64' firmware fetch_firmware \
		"${firmware_packages[@]}" -- "${firmware_debs[@]}"
}
