# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # variables of the scripts that source this one
#
# The arguments with which the kernel's build system has compiled the module's Rust.

# Sets `options`, the arguments that rustc had for the module of `target`, without those for object
# files and without the source, and `variables`, the environment that it needs.
read_rustc_arguments() {
	local command at
	read -r -a command < <(
		sed -n 's/^savedcmd_.* := //p' "$project/build/$target/src/.rk_dma_heap.o.cmd" |
			tr -d "'"
	)
	options=()
	variables=(
		RUSTC_BOOTSTRAP=1
		"RK_DMA_HEAP_BINDINGS=$project/build/$target/src/bindings_generated.rs"
	)
	for ((at = 0; at < ${#command[@]}; at++)); do
		case ${command[at]} in
		[A-Z]*=*) variables+=("${command[at]}") ;;
		rustc | --emit=* | -Zbinary_dep_depinfo=y | */src/rk_dma_heap.rs) ;;
		--out-dir) ((at += 1)) ;;
		*) options+=("${command[at]}") ;;
		esac
	done
}
