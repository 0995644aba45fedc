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

need_prose_checkers() {
	stage prose 'checkers of spelling and style' prose fetch_tools prose \
		"${prose_packages[@]}"
}
