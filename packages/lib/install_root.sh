# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A Debian root of a target's architecture, with systemd and udev. No program of that architecture
# runs on the host.

# The packages of a board. The kernel's modules are left out, except those that the machine needs.
install_packages='?essential'
install_more=base-passwd,base-files,apt,systemd-sysv,udev,kmod,passwd,dbus

# make_install_root: creates root.tar in the current folder.
make_install_root() {
	local release=$1 scripts=$project/packages/guest stable backports sources setting options=()
	open_archive "$cache/apt/$target" "$debian_arch"
	sources=("deb $(mirror) $stable main" "deb $(mirror) $backports main")
	while read -r setting; do
		options+=(--aptopt="$setting")
	done < <(host_apt_settings)
	((EUID == 0)) || ! has_subordinate_users || options+=(--mode=unshare)
	# shellcheck disable=SC2054 # the commas are mmdebstrap's
	options+=(
		--architectures="$debian_arch" --variant=extract
		# The guest installs the packages.
		--skip=essential/unlink,cleanup/apt/cache
		--include="$install_packages"
		--include="$install_more,linux-base/$backports,linux-modules-$release"
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
		--dpkgopt='path-exclude=/usr/share/locale/*'
		--dpkgopt='path-exclude=/usr/lib/modules/*/kernel/*'
		--dpkgopt='path-include=/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko*'
		--dpkgopt=force-unsafe-io
	)
	mmdebstrap "${options[@]}" trixie unpacked.tar "${sources[@]}"
	run_root unpacked.tar "$PWD/machine" 3000 rdinit=/configure \
		"configure=$scripts/configure:755" "finish=$scripts/finish:755"
	grep -q '^CONFIGURE: finished' machine/console || { tail -n 30 machine/console; return 1; }
	tar --list --file machine/disk >/dev/null
	mv machine/disk root.tar
	rm -rf unpacked.tar machine
}

# need_debian_root NAME DESCRIPTION [PACKAGE,...]: a stage of the target, with further packages.
need_debian_root() {
	local install_more=$install_more${3:+,$3}
	stage "$target/$1" "$2 (in a virtual machine: minutes)" "$1-$target" \
		make_install_root "$(<"$target_folder/kernel/release")" \
		"$install_packages,$install_more" \
		"$(cat "$project"/packages/guest/{configure,finish} | sha256sum)"
}

need_install_root() {
	need_debian_root install-root "Debian root for $debian_arch to install into"
}
