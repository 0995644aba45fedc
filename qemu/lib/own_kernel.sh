# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A kernel of the project's own: from the source package of the target's Debian kernel, with nothing switched on but what
# the fragments in qemu/config say.

own_make_arguments() {
	printf '%s\n' "ARCH=$arch" LLVM=-19 "LOCALVERSION=-$target"
}

# Builds the kernel and its modules in the current folder, in which modules can be built afterwards; upon the tree of
# another kernel, if there is one, with which it has most objects in common.
build_own_kernel() {
	local source=$1 fragments=$2 base=$3 name
	# The fourth and fifth are the build root and the hash of the fragments: with others it is another kernel.
	shift 5
	[[ $base == - ]] || cp --archive --reflink=auto "$base/." .
	for name in ${fragments//,/ }; do
		cat "$project/qemu/config/$name"
	done >fragments
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" KCONFIG_ALLCONFIG="$PWD/fragments" allnoconfig
	check_fragments
	"$project/qemu/enter" make -C "$source" O="$PWD" -j "$(nproc)" "$@" Image modules
	printf '%s\n' "$@" >make-arguments
}

# An option that another one forbids, or that the kernel does not know any more, is dropped without a word. Of several lines
# for one option the last one counts; what is not mentioned is not set.
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
			for (option in wanted)
				if (wanted[option] != (option in has ? has[option] : "# " option " is not set"))
					print wanted[option]
		}' .config fragments)
	if [[ $missing ]]; then
		printf '%s\nthese lines of the fragments did not get into the configuration\n' "$missing"
		return 1
	fi
}

# What a Debian kernel's packages hold, of the kernel built in the folder $1; the rest from the packages' folder $2.
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

# The target whose fragments are those of this one but for further ones at the end; nothing where there is none.
base_target() {
	awk -v fragments="$fragments" '!/^#/ && $5 != "-" && index(fragments, $5 ",") == 1 { print $1 }' "$project/qemu/targets"
}

fragments_hash() {
	local name
	for name in ${fragments//,/ }; do
		[[ -f $project/qemu/config/$name ]] || die "target $target: there is no fragment qemu/config/$name"
		cat "$project/qemu/config/$name"
	done | sha256sum
}
