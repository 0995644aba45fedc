# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A target's kernel as Debian ships it, and the stages up to a tree for building modules (tree.sh).

# Kernels with which the module was built and tested.
known_good=(
	7.3.4+deb13-{arm64,rt-arm64,arm64-16k,cloud-arm64,amd64,rt-amd64} 7.2.13+deb14-arm64
	7.2.11+deb13-armmp
)

# Downloads into the current folder the kernel that PACKAGE depends on: release, version, vmlinuz,
# config, Module.symvers, vmlinux, lib/modules, and busybox for the guest.
fetch_kernel() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local architecture=$1 package=$2 state=$cache/apt/$target \
		stable backports release version part
	open_archive "$state" "$architecture"

	release=$(archive_field "$state" "$package" Depends |
		grep -oE 'linux-image-[0-9][^ ,]*' | head -n 1)
	release=${release#linux-image-}
	[[ -n $release ]]
	version=$(archive_field "$state" "linux-image-$release" Version)
	local packages=("linux-headers-$release" "linux-image-$release" busybox-static)
	for part in linux-binary linux-modules; do
		! archive_has "$state" "$part-$release" || packages+=("$part-$release")
	done
	archive_unpack "$state" unpacked "${packages[@]}"

	printf '%s\n' "$release" >release
	printf '%s\n' "$version" >version
	mv unpacked/usr/src/linux-headers-"$release"/{.config,Module.symvers} .
	mv .config config
	# This file has only the kernel's type information.
	mv unpacked/usr/src/linux-headers-"$release"/vmlinux .
	first_of unpacked/{boot/vmlinuz-"$release",usr/lib/modules/"$release"/vmlinuz} vmlinuz
	mkdir -p lib/modules
	first_of unpacked{,/usr}/lib/modules/"$release" lib/modules
	first_of unpacked{,/usr}/bin/busybox busybox
	rm -rf unpacked "$state/cache/archives"
}

# fetch_image ARCHITECTURE PACKAGE SUITE: like fetch_kernel, from another suite, or for a PACKAGE
# that is the kernel itself: linux-image-RELEASE. (The text of fetch_kernel names the folders of all
# kernels that are in caches.)
fetch_image() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local architecture=$1 package=$2 state=$cache/apt/$target \
		stable backports release version part
	use_suite "$3"
	open_archive "$state" "$architecture"

	release=$package
	[[ $package == linux-image-[0-9]* ]] ||
		release=$(archive_field "$state" "$package" Depends |
			grep -oE 'linux-image-[0-9][^ ,]*' | head -n 1)
	release=${release#linux-image-}
	version=$(archive_field "$state" "linux-image-$release" Version)
	if [[ -z $version ]]; then
		printf 'the archive has no kernel %s for %s\n' "$package" "$architecture"
		return 1
	fi
	local packages=("linux-headers-$release" "linux-image-$release" busybox-static)
	for part in linux-binary linux-modules; do
		! archive_has "$state" "$part-$release" || packages+=("$part-$release")
	done
	archive_unpack "$state" unpacked "${packages[@]}"
	if ! grep -q '^CONFIG_RUST=y' unpacked/usr/src/linux-headers-"$release"/.config; then
		printf '%s was built without CONFIG_RUST\n' "$release"
		return 1
	fi

	printf '%s\n' "$release" >release
	printf '%s\n' "$version" >version
	mv unpacked/usr/src/linux-headers-"$release"/{.config,Module.symvers,vmlinux} .
	mv .config config
	first_of unpacked/{boot/vmlinuz-"$release",usr/lib/modules/"$release"/vmlinuz} vmlinuz
	mkdir -p lib/modules
	first_of unpacked{,/usr}/lib/modules/"$release" lib/modules
	first_of unpacked{,/usr}/bin/busybox busybox
	rm -rf unpacked "$state/cache/archives"
}

# first_of FILE... DESTINATION: moves the first file that exists.
first_of() {
	local file
	for file in "${@:1:$#-1}"; do
		if [[ -f $file || -d $file ]]; then
			mv "$file" "${!#}"
			return
		fi
	done
	printf 'none of these is in the packages: %s\n' "${*:1:$#-1}"
	return 1
}

# Unpacks the source package of the target's kernel version in the current folder.
fetch_source() {
	local version=$1 state=$cache/apt/$target series
	series=$(sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$version")
	archive_unpack "$state" unpacked "linux-source-$series=$version"
	"$project/qemu/enter" tar --extract --strip-components=1 \
		--file "unpacked/usr/src/linux-source-$series.tar.xz"
	rm -rf unpacked
}

# Copies the modules that the guest may load, and their dependencies. Uncompressed: busybox does not
# support xz.
collect_modules() {
	local kernel=$1 release=$2 list=$3 file
	mkdir -p "lib/modules/$release"
	"$project/qemu/enter" depmod -b "$kernel" "$release"
	if [[ $list ]]; then
		# shellcheck disable=SC2086 # a list of names
		"$project/qemu/enter" modprobe --show-depends -d "$kernel" -S "$release" -a $list |
			sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u >files
		while read -r file; do
			(cd "$kernel" && cp --parents "${file#"$kernel"/}" "$OLDPWD")
		done <files
		rm files
	fi
	"$project/qemu/enter" find . -name '*.ko.xz' -exec unxz {} +
	"$project/qemu/enter" depmod -b "$PWD" "$release"
}

# Prepares everything for a target; call read_target first.
need_target() {
	local release version
	need_suite_root
	if [[ $fragments == - ]]; then
		need_packages kernel
		release=$(<"$target_folder/kernel/release")
		[[ " ${known_good[*]} " == *" $release "* ]] || report_unknown_kernel "$release"
		need_source kernel
		need_tree_of_packages "$release"
	else
		need_packages packages
		need_source packages
		need_own_kernel
		release=$(<"$target_folder/kernel/release")
	fi
	stage "$target/modules" "kernel modules for the $target guest" "modules-$target" \
		collect_modules "$(readlink "$target_folder/kernel")" "$release" "$(modules_wanted)"
}

# The arguments are real folders, not links: the links may later point to folders of other versions.

need_packages() {
	local work=(fetch_kernel "$debian_arch" "$kernel_package")
	[[ $suite == trixie && $kernel_package != linux-image-[0-9]* ]] ||
		work=(fetch_image "${work[@]:1}" "$suite")
	# Named after the architecture: targets of the same packages share the folder.
	stage "$target/$1" "kernel packages for $target" "kernel-$debian_arch" "${work[@]}"
}

need_source() {
	version=$(<"$target_folder/$1/version")
	stage "$target/source" "kernel source $version" "source-$version" fetch_source "$version"
}

need_tree_of_packages() {
	local -a make_arguments
	local prepare=prepare_tree own_root=$root
	if [[ $suite != trixie ]]; then
		prepare=prepare_tree_of_suite
		own_root=$target_folder/root
	fi
	mapfile -t make_arguments < <(
		kernel_make_arguments "$1" "$(gcc_of "$target_folder/kernel/config")"
	)
	BUILD_ROOT=$own_root stage "$target/tree" "kernel tree for $target ($1)" "tree-$target" \
		"$prepare" "$(readlink "$target_folder/source")" \
		"$(readlink "$target_folder/kernel")" "$(readlink "$own_root")" \
		"${make_arguments[@]}"
}

need_own_kernel() {
	local -a make_arguments
	local base tree=-
	base=$(base_target)
	if [[ $base ]]; then
		(
			read_target "$base"
			need_target
		)
		tree=$(readlink "$setup_folder/$base/tree")
	fi
	mapfile -t make_arguments < <(own_make_arguments)
	stage "$target/tree" "kernel for $target, built here" "tree-$target" build_own_kernel \
		"$(readlink "$target_folder/source")" "$fragments" "$tree" "$(readlink "$root")" \
		"$(fragments_hash)" "${make_arguments[@]}"
	stage "$target/kernel" "kernel of $target" "own-kernel-$target" install_own_kernel \
		"$(readlink "$target_folder/tree")" "$(readlink "$target_folder/packages")"
}

# Prints the modules of the row. Another kernel than the row's may lack some of them.
modules_wanted() {
	local kernel=$target_folder/kernel/lib/modules name
	printf '%s,%s\n' "$boot_modules" "$modules" | tr ',' '\n' | grep -vx -- - | sort -u |
		while read -r name; do
			if [[ $target != *@* ]] ||
				[[ $(find "$kernel/" -name "$name.ko*" -print -quit) ]]; then
				printf '%s\n' "$name"
			fi
		done | paste -sd ' '
}

report_unknown_kernel() {
	[[ -e $target_folder/kernel/told ]] ||
		printf '  note: the module was not tested on kernel %s (but on %s); continuing\n' \
			"$1" "${known_good[*]}" >&2
	: >"$target_folder/kernel/told"
}
