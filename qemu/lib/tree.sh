# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of the scripts that source this one
#
# A kernel tree for building modules for the very kernel that Debian ships, with the Rust metadata
# that its headers lack. Used by set-up and, on a board, by the DKMS package, whose
# `$project/qemu/enter` runs the command directly.

kernel_make_arguments() {
	printf '%s\n' "ARCH=$arch" LOCALVERSION= "KERNELRELEASE=$1"
	case $arch in
	arm64)
		printf '%s\n' CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-14 \
			CROSS_COMPILE_COMPAT=arm-linux-gnueabihf- \
			CC_COMPAT=arm-linux-gnueabihf-gcc-14
		;;
	arm)
		printf '%s\n' CROSS_COMPILE=arm-linux-gnueabihf- CC=arm-linux-gnueabihf-gcc-14
		;;
	x86)
		printf '%s\n' CROSS_COMPILE=x86_64-linux-gnu- CC=x86_64-linux-gnu-gcc-14
		;;
	esac
}

# prepare_tree SOURCE KERNEL ROOT ARGUMENT...: creates in the current folder a kernel tree in which
# modules for the kernel in the folder KERNEL can be built.
prepare_tree() {
	local source=$1 kernel=$2
	# ROOT only selects the stage: another build root may have another compiler.
	shift 3
	cp "$kernel/config" .config
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" olddefconfig
	if ! diff "$kernel/config" .config; then
		printf 'olddefconfig changes the lines above of the packaged configuration: %s\n' \
			'add the missing tool to the build root'
		return 1
	fi
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" modules_prepare
	cp "$kernel"/{Module.symvers,vmlinux} .
	check_rust_symbols
	# So that `make -C TREE` needs only these arguments.
	printf '%s\n' "$@" >make-arguments
}

# Rust symbols contain a hash of their crate: they differ if the rebuilt crates are not those of the
# package.
check_rust_symbols() {
	local missing
	missing=$(sed -nE 's/^EXPORT_SYMBOL_RUST_GPL\((.*)\);$/\1/p' rust/exports_*_generated.h |
		sort -u | comm -23 - <(cut -f 2 Module.symvers | sort -u))
	if [[ -n $missing ]]; then
		printf '%s\n%s\n' "$missing" \
			'the packaged kernel lacks these Rust symbols of the rebuilt kernel crates'
		return 1
	fi
	printf 'all %d Rust symbols are in the packaged kernel\n' \
		"$(cat rust/exports_*_generated.h | grep -c '^EXPORT_SYMBOL_RUST_GPL')"
}
