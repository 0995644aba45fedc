# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of the scripts that source this one
#
# A kernel tree for building modules for the very kernel that Debian ships, with the Rust metadata
# that its headers lack. Used by set-up and, on a board, by the DKMS package, whose
# `$project/qemu/enter` runs the command directly.

# kernel_make_arguments RELEASE GCC: GCC is the version of the compiler.
kernel_make_arguments() {
	printf '%s\n' "ARCH=$arch" LOCALVERSION= "KERNELRELEASE=$1"
	case $arch in
	arm64)
		printf '%s\n' CROSS_COMPILE=aarch64-linux-gnu- "CC=aarch64-linux-gnu-gcc-$2" \
			CROSS_COMPILE_COMPAT=arm-linux-gnueabihf- \
			"CC_COMPAT=arm-linux-gnueabihf-gcc-$2"
		;;
	arm)
		printf '%s\n' CROSS_COMPILE=arm-linux-gnueabihf- \
			"CC=arm-linux-gnueabihf-gcc-$2"
		;;
	x86)
		printf '%s\n' CROSS_COMPILE=x86_64-linux-gnu- "CC=x86_64-linux-gnu-gcc-$2"
		;;
	esac
}

# gcc_of CONFIGURATION: prints the version of the compiler that built a kernel.
gcc_of() {
	sed -nE 's/^CONFIG_GCC_VERSION=([0-9]+)[0-9]{4}$/\1/p' "$1"
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
	# A module has the messages of the crates' generic functions that it calls: they name source
	# files without the path of this machine.
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" \
		"KRUSTFLAGS=--remap-path-prefix=$source/=" modules_prepare
	cp "$kernel"/{Module.symvers,vmlinux} .
	check_rust_symbols
	# So that `make -C TREE` needs only these arguments.
	printf '%s\n' "$@" >make-arguments
}

# prepare_tree_of_suite SOURCE KERNEL ROOT ARGUMENT...: like prepare_tree, with another build root
# whose compiler may be of another Debian revision.
#
# Debian builds a kernel on the kernel's architecture. The cross compiler of the same version is
# another source package, which follows a few days later, and its revision is in the line
# CONFIG_CC_VERSION_TEXT. Nothing but the banner of the kernel depends on that line: the version
# itself is in CONFIG_GCC_VERSION, which prepare_tree compares as it compares all other lines.
prepare_tree_of_suite() {
	local source=$1 kernel=$2 compiler=CONFIG_CC_VERSION_TEXT text
	shift 2
	mkdir packaged
	ln -s "$kernel"/{Module.symvers,vmlinux} packaged
	text=$("$project/qemu/enter" "$(printf '%s\n' "$@" | sed -n 's/^CC=//p')" --version |
		head -n 1)
	printf '%s was built with %s\n' "$(<"$kernel/release")" \
		"$(grep "^$compiler=" "$kernel/config")"
	sed "s/^$compiler=.*/$compiler=\"$text\"/" "$kernel/config" >packaged/config
	prepare_tree "$source" "$PWD/packaged" "$@"
	rm -r packaged
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
