# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# The checkers of texts. They are not in the build root: nothing is built with them, and another
# list of packages would be another root.

prose_packages=(
	# spelling, and what it imports
	codespell python3-chardet
	# style: wordy phrases, repeated words
	diction
)

# fetch_prose_checkers PACKAGE...: unpacks packages of the build root's suite in the current folder.
fetch_prose_checkers() {
	# shellcheck disable=SC2034 # open_archive sets the suites
	local state=$cache/apt/prose stable backports
	open_archive "$state" amd64
	archive_unpack "$state" "$PWD" "${@/%//$stable}"
	rm -rf "$state/cache/archives"
}

need_prose_checkers() {
	stage prose 'checkers of spelling and style' prose fetch_prose_checkers \
		"${prose_packages[@]}"
}
