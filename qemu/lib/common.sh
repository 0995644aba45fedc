# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # variables are for the files that source this one
#
# Paths, error messages, and the target table.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}")/rk_dma_heap
log_folder=$cache/log
# Links to the folders in the cache that set-up created for this checkout.
setup_folder=$project/build/setup
root=$setup_folder/root

# A file at the top of the Debian root's file system, and in no other one.
root_marker=/.rk_dma_heap-root

die() {
	printf 'rk_dma_heap: %s\n' "$1" >&2
	exit "${2:-1}"
}

inside_root() {
	[[ -e $root_marker ]]
}

# A target's name is that of a row, or ROW@PACKAGE: the row's machine with the kernel of another
# Debian package.
target_row() {
	awk -v name="${1%%@*}" '!/^#/ && $1 == name' "$project/qemu/targets"
}

target_names() {
	awk '!/^#/ && NF { print $1 }' "$project/qemu/targets"
}

# read_target NAME: sets target, arch, debian_arch, … to the columns of that row.
read_target() {
	local row
	row=$(target_row "$1")
	[[ -n $row ]] ||
		die "qemu/targets has no target '$1': use one of: $(target_names | paste -sd ' ')"
	read -r target arch debian_arch kernel_package suite fragments triple qemu machine cpu smp \
		memory tree boot_modules modules kernel_arguments <<<"$row"
	if [[ $1 == *@* ]]; then
		target=$1
		kernel_package=${1#*@}
		[[ $kernel_package == linux-image-* && $kernel_package != */* ]] ||
			die "$1: a kernel is a package of Debian, linux-image-..."
		[[ $fragments == - ]] || die "$1: ${1%%@*} boots a kernel that is built here"
	fi
	target_folder=$setup_folder/$target
}

# commit_without FILE...: prints the commit of the checkout, with -dirty if files differ from it.
# The FILEs, which a measurement writes, do not count. Without git that is `unknown`.
commit_without() {
	local commit
	if ! commit=$(git -C "$project" rev-parse --short=12 HEAD 2>/dev/null); then
		printf 'unknown\n'
		return
	fi
	[[ -z $(git -C "$project" status --porcelain -- . "${@/#/:!}") ]] || commit+=-dirty
	printf '%s\n' "$commit"
}
