# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# Lintian, in a Debian root of its own that only the check of the packages makes: nothing is built
# in it. Needs stage.sh, host.sh, archive.sh and root.sh of set-up.

need_lintian() {
	local work=(lintian build_root "${root_options[@]/amd64,arm64,armhf/amd64}"
		--include=lintian)
	stage_is_done "${work[@]}" || need_permission_to_build_root
	stage lintian 'Debian root with lintian' "${work[@]}"
}

# run_lintian FILE...: prints what lintian finds, and fails if that is anything.
run_lintian() {
	BUILD_ROOT=$setup_folder/lintian "$project/qemu/enter" lintian --allow-root --pedantic \
		--display-info --fail-on error,warning,info,pedantic "$@"
}
