# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A stage fills one folder of the cache, and is done once. The folder is named after a hash of all that went into it, so
# that checkouts of the project that differ in their set-up share what they have in common and do not get in each other's
# way. The stamp beside it is written last: a folder without one is what an interrupted run left behind, and is filled
# anew. The project finds a stage's folder by a link in build/setup.

unused_days=30

# Hash of the function that does the work and of the inputs it was given.
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

# stage LINK DESCRIPTION NAME FUNCTION INPUT...: FUNCTION runs in the empty folder NAME/HASH, with the INPUTs as arguments.
stage() {
	local link=$setup_folder/$1 description=$2 folder
	shift 2
	folder=$(stage_folder "$@")
	if ! stage_is_done "$@"; then
		inside_root && die "'$description' is not done yet, and cannot be from inside the Debian root; run qemu/setup outside it"
		take_lock
	fi
	# Once more: whoever had the lock may have done it.
	if ! stage_is_done "$@"; then
		rm -rf "$folder" "$folder.stamp"
		mkdir -p "$folder" "$log_folder"
		run_with_progress "$description" "$log_folder/$1.log" in_folder "$folder" "${@:2}"
		: >"$folder.stamp"
		remove_unused "$cache/$1"
	fi
	mark_used "$folder"
	if [[ $(readlink "$link") != "$folder" ]]; then
		mkdir -p "${link%/*}"
		ln -sfn "$folder" "$link"
	fi
}

# One set-up at a time works in the cache; where nothing is to be done nobody waits.
take_lock() {
	[[ -z ${lock_taken:-} ]] || return 0
	exec 9>"$cache/lock"
	if ! flock --nonblock 9; then
		printf '  waiting for another set-up in %s ...\n' "$cache" >&2
		flock 9
	fi
	lock_taken=yes
}

# Once an hour will do.
mark_used() {
	[[ -e $1.used && -z $(find "$1.used" -mmin +60) ]] || : >"$1.used"
}

# What no checkout has used for a while goes when the same stage is done anew.
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

# Runs a command with its output going to a log, and shows on standard error what is going on and for how long.
run_with_progress() {
	local description=$1 log=$2 start=$SECONDS status=0 ticker
	shift 2
	[[ -t 2 ]] || printf '  %s ...\n' "$description" >&2
	tick "$description" &
	ticker=$!
	# Told apart from the `||` below, a subshell of its own keeps `set -e` working inside it.
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
		die "'$description' failed after $((SECONDS - start)) s$(cure_of "$log"); full log: $log"
	fi
	printf '  %s: %d s\n' "$description" $((SECONDS - start)) >&2
}

# On a terminal a line that counts the seconds, otherwise a line every half minute. Ends with the script that started it.
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

# A line to the user from inside a stage, whose own output goes to the log.
note() {
	printf '\n  note: %s\n' "$1" >&3
}

# The usual causes, told by what the failed tool printed.
cure_of() {
	if grep -qE 'Temporary failure resolving|Could not resolve|Could not connect|Connection (timed out|refused)|Unable to connect' "$1"; then
		printf ': the Debian mirror cannot be reached; check the network, or name another one in RK_DMA_HEAP_MIRROR'
	elif grep -qE 'No space left on device|not enough free space' "$1"; then
		printf ': the disk is full; free some space or point XDG_CACHE_HOME to another disk'
	elif grep -qE 'NO_PUBKEY|EXPKEYSIG|is not signed|not valid yet|is expired' "$1"; then
		printf ': a signature could not be verified; check the clock, and update the package debian-archive-keyring'
	fi
}
