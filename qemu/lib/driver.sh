# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of the scripts that source this one
#
# Builds kernel modules for a target in the Debian root.

# build_kernel_modules SOURCE OUTPUT SYMBOLS [MAKE ARGUMENT...]: builds the kernel modules in the
# folder SOURCE, for the target that read_target has read. SYMBOLS is the Module.symvers of
# rk_dma_heap, or empty. Checks that kernel and module export every symbol that they import.
build_kernel_modules() {
	local source=$1 output=$2 symbols=$3 tree=$target_folder/tree module arguments
	shift 3
	[[ $suite == trixie ]] || export BUILD_ROOT=$target_folder/root
	mapfile -t arguments <"$tree/make-arguments"
	[[ -z $symbols ]] || arguments+=("RK_DMA_HEAP_INCLUDE=$project/include")
	mkdir -p "$output"
	"$project/qemu/enter" make -s -C "$tree" M="$source" MO="$output" \
		KBUILD_EXTRA_SYMBOLS="$symbols" -j "$(nproc)" "${arguments[@]}" "$@" modules
	for module in "$output"/*.ko; do
		"$project/qemu/enter" "$project/qemu/check-symbols" "$module" \
			"$tree/Module.symvers" ${symbols:+"$symbols"}
	done
}
