# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# The serial console of a virtual machine, whose screens are read and whose keys are pressed.

need_console() {
	stage console 'Python library for consoles' console fetch_tools console \
		python3-pexpect python3-ptyprocess
}

# on_console LOG COMMAND...: runs the machine COMMAND, at most 20 minutes. Standard input has what
# to wait for and what to type, as console.py reads it.
on_console() {
	local status=0
	PYTHONPATH=$setup_folder/console/usr/lib/python3/dist-packages \
		timeout --kill-after=5 1200 "$project/qemu/enter" \
		"$project/packages/lib/console.py" "$@" || status=$?
	((status != 124 && status != 137)) || printf 'the machine did not end in time\n' >&2
	return "$status"
}
