# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# What set-up needs on the host: two packages, disk space, and permission to create namespaces.

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
	# A failing source does not matter if another one has the packages.
	as_root apt-get update || true
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --no-install-recommends "$@"
}

need_host_packages() {
	local missing
	mapfile -t missing < <(missing_host_packages)
	((${#missing[@]})) || return 0
	add_host_packages "${missing[@]}" debian-archive-keyring
}

# add_host_packages PACKAGE...
add_host_packages() {
	command -v apt-get >/dev/null ||
		die "apt-get is missing: use a Debian host, or install there: $*"
	can_become_root ||
		die "$* missing, and neither root nor sudo available; as root: apt-get install $*"
	# Asks for the password now, in the foreground.
	((EUID == 0)) || sudo --validate || die "sudo was refused; as root: apt-get install $*"
	# Below the cache, where the lock is too.
	mkdir -p "$log_folder"
	take_lock host "host packages: $*"
	run_with_progress "host packages: $*" "$log_folder/host.log" install_host_packages "$@"
	exec 9>&-
}

# Lets the host's kernel run programs of the target's architecture through QEMU, also in a root
# without QEMU (flag F). Set-up does not need this: it runs no such programs.
need_emulation() {
	local entry=/proc/sys/fs/binfmt_misc/qemu-$qemu
	[[ $debian_arch != "$(dpkg --print-architecture)" ]] || return 0
	if [[ ! -e $entry ]] || ! command -v arch-test >/dev/null; then
		# mmdebstrap calls arch-test.
		add_host_packages qemu-user-static binfmt-support arch-test
	fi
	if [[ $(grep -csE '^enabled|^flags: .*F' "$entry") != 2 ]]; then
		die "programs for $debian_arch do not run here: $entry is not enabled with flag F; \
as root: mount -t binfmt_misc binfmt_misc ${entry%/*}; update-binfmts --enable"
	fi
	# The default CPU has pointer authentication. Emulating it at each call in Debian's
	# programs makes a shell loop 18 times slower.
	[[ $qemu != aarch64 ]] || export QEMU_CPU=${QEMU_CPU:-cortex-a76}
}

# True if the user may create user namespaces with more than one user.
has_subordinate_users() {
	command -v newuidmap >/dev/null && grep -q "^$(id -un):" /etc/subuid
}

# A root of Debian packages has files of several users.
need_permission_to_build_root() {
	((EUID == 0)) || has_subordinate_users && return
	command -v sudo >/dev/null ||
		die "building the root needs root, sudo or user namespaces; as root: \
apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
	sudo --validate || die "sudo was refused: building the root needs it once"
}

need_namespaces() {
	bwrap --ro-bind / / --unshare-pid --proc /proc true 2>/dev/null ||
		die "bubblewrap cannot create namespaces; as root: sysctl -w \
kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 (or start the container with \
--privileged)"
}

need_space() {
	local free
	free=$(($(df --output=avail -k "$cache" | tail -n 1) / 1048576))
	((free >= space_needed_gib)) ||
		die "$cache has $free GiB of free space, set-up needs $space_needed_gib: \
free some, or set XDG_CACHE_HOME to a folder on another disk"
}
