# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# What set-up needs of the host: two packages, disk space, and leave to make namespaces.

# package:program pairs
host_packages=(mmdebstrap:mmdebstrap bubblewrap:bwrap)
space_needed_gib=8

as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		sudo "$@"
	fi
}

can_become_root() {
	((EUID == 0)) || command -v sudo >/dev/null
}

missing_host_packages() {
	local pair
	for pair in "${host_packages[@]}"; do
		command -v "${pair#*:}" >/dev/null || printf '%s\n' "${pair%:*}"
	done
}

install_host_packages() {
	# A source of the host's that fails does not matter if the packages come from another.
	as_root apt-get update || true
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

need_host_packages() {
	local missing
	mapfile -t missing < <(missing_host_packages)
	((${#missing[@]})) || return 0
	add_host_packages "${missing[@]}" debian-archive-keyring
}

# add_host_packages PACKAGE...
add_host_packages() {
	command -v apt-get >/dev/null || die "this needs a Debian host with apt-get, and $*"
	can_become_root ||
		die "$* not installed, and there is neither root nor sudo here; let an administrator run: apt-get install $*"
	# Asks for the password now, in the foreground.
	((EUID == 0)) || sudo --validate || die "sudo was refused; let an administrator run: apt-get install $*"
	take_lock
	mkdir -p "$log_folder"
	run_with_progress "host packages: $*" "$log_folder/host.log" install_host_packages "$@"
}

# Has the host's kernel run programs of the target's architecture by QEMU, also in a root where QEMU is not (F). Not for
# set-up, which runs none.
need_emulation() {
	local entry=/proc/sys/fs/binfmt_misc/qemu-$qemu
	[[ $debian_arch != "$(dpkg --print-architecture)" ]] || return 0
	if [[ ! -e $entry ]] || ! command -v arch-test >/dev/null; then
		# mmdebstrap asks arch-test.
		add_host_packages qemu-user-static binfmt-support arch-test
	fi
	[[ $(grep -csE '^enabled|^flags: .*F' "$entry") == 2 ]] ||
		die "programs for $debian_arch do not run here: no $entry that is enabled with the flag F; as root: mount -t binfmt_misc binfmt_misc ${entry%/*}; update-binfmts --enable"
	# The CPU that is emulated otherwise signs pointers, at each call in Debian's programs: 18 times as long for a shell's loop.
	[[ $qemu != aarch64 ]] || export QEMU_CPU=${QEMU_CPU:-cortex-a76}
}

# Own user namespaces with more than one user in them.
has_subordinate_users() {
	command -v newuidmap >/dev/null && grep -q "^$(id -un):" /etc/subuid
}

# A root of Debian packages holds files of several users.
need_leave_to_make_root() {
	((EUID == 0)) || has_subordinate_users && return
	command -v sudo >/dev/null ||
		die "making the build root takes root, sudo, or user namespaces; let an administrator run: apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
	sudo --validate || die "sudo was refused, and making the build root needs it once"
}

need_namespaces() {
	bwrap --ro-bind / / --unshare-pid --proc /proc true 2>/dev/null ||
		die "bubblewrap cannot make namespaces here; as root: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 (or, in a container, start it with --privileged)"
}

need_space() {
	local free
	free=$(($(df --output=avail -k "$cache" | tail -n 1) / 1048576))
	((free >= space_needed_gib)) ||
		die "$cache has $free GiB of free space and set-up needs $space_needed_gib; free some or point XDG_CACHE_HOME to another disk"
}
