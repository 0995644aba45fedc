# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# The Debian 13 root in which everything is built and QEMU runs.

root_packages=(
	# for the kernel's build
	make flex bison bc kmod cpio xz-utils rsync python3 libelf-dev libssl-dev openssl gcc
	libc6-dev
	# pahole: without it, olddefconfig drops DEBUG_INFO_BTF, types change, symbols do not match
	dwarves
	# Rust, in the version with which Debian's kernels are built, and bindgen's dependencies
	rustc rust-src rustfmt rust-clippy bindgen cargo clang-19 lld-19 llvm-19 libclang-19-dev
	# for targets
	gcc-14-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-dev:arm64
	gcc-14-arm-linux-gnueabihf libc6-dev-armhf-cross libstd-rust-dev:armhf
	qemu-system-arm qemu-system-x86 device-tree-compiler
	# for checks
	shellcheck clang-format-19
	# from backports
	dt-schema
	ca-certificates
)

root_options=(
	--variant=apt
	'--architectures=amd64,arm64,armhf'
	--dpkgopt=force-unsafe-io
	--dpkgopt='path-exclude=/usr/share/doc/*'
	--dpkgopt='path-exclude=/usr/share/man/*'
	--dpkgopt='path-exclude=/usr/share/locale/*'
)

# build_root OPTION...: creates the root in the current folder. For an ordinary user it is unpacked
# from a tar archive, so that this user owns all files and `rm` can remove them.
build_root() {
	local options=("$@") setting stable backports sources
	open_archive "$cache/apt/root" 'amd64 arm64 armhf'
	sources=("deb $(mirror) $stable main" "deb [arch=amd64] $(mirror) $backports main")
	while read -r setting; do
		options+=(--aptopt="$setting")
	done < <(host_apt_settings)
	if ((EUID == 0)); then
		mmdebstrap "${options[@]}" trixie "$PWD" "${sources[@]}"
	elif has_subordinate_users; then
		mmdebstrap --mode=unshare "${options[@]}" trixie - "${sources[@]}" | unpack_root
	else
		sudo mmdebstrap --mode=root "${options[@]}" trixie - "${sources[@]}" | unpack_root
	fi
	touch etc/resolv.conf etc/hosts ".$root_marker"
}

unpack_root() {
	tar --extract --no-same-owner --exclude='./dev/*'
}

root_include() {
	local IFS=,
	printf -- '--include=%s' "${root_packages[*]}"
}

# What a target of another suite needs to build its module: the compilers of that suite. All else
# comes from the build root.
suite_root_packages() {
	local gcc=$1
	printf '%s\n' make flex bison bc kmod cpio xz-utils rsync python3 libelf-dev libssl-dev \
		openssl gcc libc6-dev dwarves rustc rust-src rustfmt rust-clippy bindgen \
		"gcc-$gcc-aarch64-linux-gnu" "gcc-$gcc-arm-linux-gnueabihf" "gcc-$gcc" \
		libc6-dev-arm64-cross libc6-dev-armhf-cross ca-certificates
}

# build_suite_root SUITE OPTION...: like build_root, of another suite.
build_suite_root() {
	local name=$1 options=("${@:2}") setting stable backports sources
	use_suite "$name"
	open_archive "$cache/apt/root-$name" amd64
	sources=("deb $(mirror) $stable main")
	while read -r setting; do
		options+=(--aptopt="$setting")
	done < <(host_apt_settings)
	if ((EUID == 0)); then
		mmdebstrap "${options[@]}" "$name" "$PWD" "${sources[@]}"
	elif has_subordinate_users; then
		mmdebstrap --mode=unshare "${options[@]}" "$name" - "${sources[@]}" | unpack_root
	else
		sudo mmdebstrap --mode=root "${options[@]}" "$name" - "${sources[@]}" | unpack_root
	fi
	touch etc/resolv.conf etc/hosts ".$root_marker"
}

# The compiler with which the suite's kernel is built.
suite_gcc() {
	case $1 in
	sid) printf 16 ;;
	*) die "no compiler is known for the suite $1: add it to suite_gcc" ;;
	esac
}

# Makes the build root of a target whose suite is not that of the build root.
need_suite_root() {
	[[ $suite != trixie ]] || return 0
	local packages work
	packages=$(suite_root_packages "$(suite_gcc "$suite")" | paste -sd ,)
	work=("build-root-$suite" build_suite_root "$suite"
		"${root_options[@]/amd64,arm64,armhf/amd64}" "--include=$packages")
	inside_root || stage_is_done "${work[@]}" || need_permission_to_build_root
	stage "$target/root" "Debian $suite build root" "${work[@]}"
}

need_root() {
	local work=(build-root build_root "${root_options[@]}" "$(root_include)")
	if ! inside_root && ! stage_is_done "${work[@]}"; then
		need_space
		need_permission_to_build_root
	fi
	stage root "Debian 13 build root" "${work[@]}"
}
