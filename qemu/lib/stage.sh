# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A stage fills one folder of the cache, once. The folder is named after a hash of all its inputs.
# Checkouts with different set-ups therefore share the folders they have in common and do not
# disturb each other. The stamp beside the folder is written last: a folder without a stamp is from
# an interrupted run and is filled again. The project refers to the folder by a link in build/setup.

unused_days=30

# Hash of the function that does the work and of its inputs.
stage_key() {
	{ declare -f "$1"; printf '%s\n' "${@:2}"; } | sha256sum | cut -c 1-16
}

# stage_folder NAME FUNCTION INPUT...
stage_folder() {
	printf '%s/%s/%s' "$cache" "$1" "$(stage_key "${@:2}")"
}

stage_is_done() {
	local folder
	folder=$(stage_folder "$@")
	[[ -d $folder && -e $folder.stamp ]]
}

# stage LINK DESCRIPTION NAME FUNCTION INPUT...: runs FUNCTION with the INPUTs as arguments in the
# empty folder NAME/HASH.
stage() {
	local link=$setup_folder/$1 description=$2 folder
	shift 2
	folder=$(stage_folder "$@")
	if ! stage_is_done "$@"; then
		inside_root &&
			die "'$description' is missing: run qemu/setup outside the Debian root"
		take_lock "$1" "$description"
		# Checked again: the previous holder of the lock may have done it.
		if ! stage_is_done "$@"; then
			rm -rf "$folder" "$folder.stamp"
			mkdir -p "$folder" "$log_folder"
			run_with_progress "$description" "$log_folder/$1.log" \
				in_folder "$folder" "${@:2}"
			: >"$folder.stamp"
			remove_unused "$cache/$1"
		fi
		exec 9>&-
	fi
	mark_used "$folder"
	if [[ $(readlink "$link") != "$folder" ]]; then
		mkdir -p "${link%/*}"
		ln -sfn "$folder" "$link"
	fi
}

# take_lock STAGE DESCRIPTION: waits until no other set-up works on the stage. Descriptor 9 holds
# the lock.
take_lock() {
	exec 9>"$cache/$1.lock"
	if ! flock --nonblock 9; then
		printf '  waiting for another set-up: %s ...\n' "$2" >&2
		flock 9
	fi
}

# Updates the time of the last use, at most once per hour.
mark_used() {
	[[ -e $1.used && -z $(find "$1.used" -mmin +60) ]] || : >"$1.used"
}

# Removes folders of a stage that no checkout has used for `unused_days`.
remove_unused() {
	local mark
	find "$1" -maxdepth 1 -name '*.used' -mtime +"$unused_days" | while read -r mark; do
		rm -rf "${mark%.used}" "${mark%.used}.stamp" "$mark"
	done
}

in_folder() {
	cd "$1"
	shift
	"$@"
}

# run_with_progress DESCRIPTION LOG COMMAND...: runs COMMAND with its output in a log, and shows the
# description and the elapsed time on standard error.
run_with_progress() {
	local description=$1 log=$2 start=$SECONDS status=0 ticker
	shift 2
	[[ -t 2 ]] || printf '  %s ...\n' "$description" >&2
	tick "$description" &
	ticker=$!
	# A separate subshell keeps `set -e` in effect; as an operand of `||` it would be ignored.
	set +e
	(
		set -e
		trap 'kill "$ticker" 2>/dev/null' EXIT
		"$@"
	) 3>&2 >"$log" 2>&1 </dev/null
	status=$?
	set -e
	wait "$ticker" 2>/dev/null || true
	[[ -t 2 ]] && printf '\r\033[K' >&2
	if ((status != 0)); then
		tail -n 5 "$log" | sed 's/^/    | /' >&2
		die "'$description' failed after $((SECONDS - start)) s$(cure_of "$log"); log: $log"
	fi
	printf '  %s: %d s\n' "$description" $((SECONDS - start)) >&2
}

# Shows the elapsed seconds: on a terminal in one line, otherwise in one line per half minute. Ends
# with the script that started it.
tick() {
	local start=$SECONDS
	trap 'exit 0' TERM
	while sleep 1 && kill -0 $$ 2>/dev/null; do
		if [[ -t 2 ]]; then
			printf '\r\033[K  %s ... %d s' "$1" $((SECONDS - start)) >&2
		elif (((SECONDS - start) % 30 == 0)); then
			printf '  %s ... %d s\n' "$1" $((SECONDS - start)) >&2
		fi
	done
}

# Prints a line for the user from inside a stage, whose output goes to the log.
note() {
	printf '\n  note: %s\n' "$1" >&3
}

# Prints the cause and the cure of common failures, which the output of the failed tool identifies.
cure_of() {
	local network='Temporary failure resolving|Could not resolve|Could not connect'
	network+='|Connection (timed out|refused)|Unable to connect'
	if grep -qE "$network" "$1"; then
		printf ': the Debian mirror cannot be reached: %s' \
			'check the network, or set RK_DMA_HEAP_MIRROR to another one'
	elif grep -qE 'No space left on device|not enough free space' "$1"; then
		printf ': the disk is full: free some space, or set XDG_CACHE_HOME to another disk'
	elif grep -qE 'NO_PUBKEY|EXPKEYSIG|is not signed|not valid yet|is expired' "$1"; then
		printf ': a signature could not be verified: %s' \
			'check the clock, and update the package debian-archive-keyring'
	fi
}
