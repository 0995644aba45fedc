# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Results of the tests of the packages, a line each, on descriptor 3.

# check WHAT COMMAND...: COMMAND must succeed.
check() {
	local what=$1 said
	shift
	if said=$("$@" 2>&1); then
		printf 'ok %s\n' "$what" >&3
	else
		printf 'not ok %s\n' "$what" >&3
		tail -n 20 <<<"$said" | sed 's/^/  | /' >&3
	fi
}

# The module for the kernel RELEASE, from wherever it came: the package brings it to the first place, DKMS to the second.
module_file() {
	find "/usr/lib/modules/$1/updates" -name 'rk_dma_heap.ko*'
}

our_packages() {
	local file
	for file in /opt/test/*.deb; do
		dpkg-deb --field "$file" Package
	done
}

# dpkg knows nothing of these packages, not even that they once were.
unknown() {
	local package
	for package in "$@"; do
		! dpkg-query --show "$package" || return 1
	done
}
