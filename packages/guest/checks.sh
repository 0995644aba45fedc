# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Results of the package tests, one per line, on file descriptor 3.

# check WHAT COMMAND...: COMMAND must succeed.
check() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then
		printf 'ok %s\n' "$what" >&3
	else
		printf 'not ok %s\n' "$what" >&3
		tail -n 20 <<<"$output" | sed 's/^/  | /' >&3
	fi
}

# Prints the module's file for the kernel RELEASE. The package installs it in updates/, DKMS in
# updates/dkms/.
module_file() {
	find "/usr/lib/modules/$1/updates" -name 'rk_dma_heap.ko*'
}

our_packages() {
	local file
	for file in /opt/test/*.deb; do
		dpkg-deb --field "$file" Package
	done
}

# dpkg must have no record of these packages, not even of their removal.
unknown() {
	local package
	for package in "$@"; do
		! dpkg-query --show "$package" || return 1
	done
}

# skip WHAT WHY: it cannot be run here.
skip() {
	printf 'skip %s: %s\n' "$1" "$2" >&3
}

# fails_with TEXT COMMAND...: COMMAND fails, and its output contains TEXT.
fails_with() {
	local output
	if output=$("${@:2}" 2>&1); then
		printf 'it does not fail: %s\n' "$output"
		return 1
	fi
	printf '%s\n' "$output"
	[[ $output == *"$1"* ]]
}

not_loaded() {
	! grep '^rk_dma_heap ' /proc/modules
}
