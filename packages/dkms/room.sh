# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How much memory and disk there is for a build. Another root than / is for tests.

# memory_mib [ROOT]: prints what processes may still take: free memory and what the kernel can
# reclaim, and free swap. If a memory cgroup of this process permits less, prints that.
memory_mib() {
	local root=${1:-} free swap group room
	free=$(meminfo "$root" MemAvailable)
	swap=$(meminfo "$root" SwapFree)
	room=$((free + swap))
	group=/sys/fs/cgroup$(sed -n 's/^0::\(\/.*[^/]\)\/*$/\1/p' "$root/proc/self/cgroup" \
		2>/dev/null || true)
	while [[ $group == /sys/fs/cgroup* ]]; do
		room=$(smaller "$room" "$(cgroup_kib "$root$group" "$swap")")
		group=${group%/*}
	done
	printf '%d\n' $((room / 1024))
}

# meminfo ROOT NAME: prints a line of /proc/meminfo, in KiB.
meminfo() {
	local value
	value=$(sed -n "s/^$2: *\([0-9]*\) kB$/\1/p" "$1/proc/meminfo")
	printf '%d\n' "${value:-0}"
}

# cgroup_kib FOLDER SWAP: prints the room below the limit of a cgroup, or nothing if it has none.
# The files that it has in memory can be dropped.
cgroup_kib() {
	local limit current files swap_limit swapped swap=$2
	limit=$(cat "$1/memory.max" 2>/dev/null || true)
	[[ $limit =~ ^[0-9]+$ ]] || return 0
	current=$(cat "$1/memory.current")
	files=$(awk '/^(in)?active_file / { sum += $2 } END { printf "%d", sum }' "$1/memory.stat")
	swap_limit=$(cat "$1/memory.swap.max" 2>/dev/null || true)
	if [[ $swap_limit =~ ^[0-9]+$ ]]; then
		swapped=$(cat "$1/memory.swap.current")
		swap=$(smaller "$swap" $(((swap_limit - swapped) / 1024)))
	fi
	printf '%d\n' $(((limit - current + files) / 1024 + swap))
}

# smaller A B: B may be missing.
smaller() {
	if [[ $2 ]] && (($2 < $1)); then printf '%d\n' "$2"; else printf '%d\n' "$1"; fi
}

# disk_mib FOLDER: prints what is free on the disk of a folder, which may not exist yet.
disk_mib() {
	local folder=$1
	while [[ ! -d $folder ]]; do
		folder=$(dirname "$folder")
	done
	df --output=avail --block-size=1M "$folder" | tail -n 1 | tr -d ' '
}
