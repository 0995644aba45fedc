# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A kernel built from the source package of the target's Debian kernel. Only the options of the
# fragments in qemu/config are set.

own_make_arguments() {
	printf '%s\n' "ARCH=$arch" LLVM=-19 "LOCALVERSION=-$target"
}

# Builds the kernel and its modules in the current folder, so that modules can be built there later.
# Starts from the tree of another kernel, if there is one, with which it shares most objects.
build_own_kernel() {
	local source=$1 fragments=$2 base=$3 name
	# The build root and the fragments' hash, the next two arguments, only select the stage.
	shift 5
	[[ $base == - ]] || cp --archive --reflink=auto "$base/." .
	for name in ${fragments//,/ }; do
		cat "$project/qemu/config/$name"
	done >fragments
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" \
		KCONFIG_ALLCONFIG="$PWD/fragments" allnoconfig
	check_fragments
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" Image modules
	printf '%s\n' "$@" >make-arguments
}

# Fails if an option of the fragments is not in the configuration: Kconfig silently drops an option
# that another one forbids or that does not exist. The last line for an option counts; an option
# that is not mentioned must not be set.
check_fragments() {
	local missing
	missing=$(awk '
		/^CONFIG_.*=/ || /^# CONFIG_.* is not set$/ {
			option = $0
			sub(/^# /, "", option)
			sub(/[ =].*/, "", option)
			if (FILENAME == ".config")
				has[option] = $0
			else
				wanted[option] = $0
		}
		END {
			for (option in wanted) {
				if (!(option in has))
					has[option] = "# " option " is not set"
				if (wanted[option] != has[option])
					print wanted[option]
			}
		}' .config fragments)
	if [[ $missing ]]; then
		printf '%s\nthese lines of the fragments are not in the configuration\n' "$missing"
		return 1
	fi
}

# install_own_kernel TREE PACKAGES: creates in the current folder the files of a Debian kernel's
# packages, from the kernel built in TREE; version and busybox come from PACKAGES.
install_own_kernel() {
	local tree=$1 packages=$2
	cp "$tree/include/config/kernel.release" release
	cp "$packages"/{version,busybox} .
	cp "$tree/.config" config
	cp "$tree/Module.symvers" .
	cp "$tree/arch/$arch/boot/Image" vmlinuz
	"$project/qemu/enter" make -C "$tree" INSTALL_MOD_PATH="$PWD" modules_install
	rm -f lib/modules/*/build
}

# Prints the target whose fragments are the first ones of this target's, if there is one.
base_target() {
	awk -v fragments="$fragments" \
		'!/^#/ && $6 != "-" && index(fragments, $6 ",") == 1 { print $1 }' \
		"$project/qemu/targets"
}

# Prints the hash of the fragments' content.
fragments_hash() {
	local name
	for name in ${fragments//,/ }; do
		[[ -f $project/qemu/config/$name ]] ||
			die "target $target: the fragment qemu/config/$name is missing"
		cat "$project/qemu/config/$name"
	done | sha256sum
}
