# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh and install_root.sh
#
# A Debian as an owner of a board has it, with a kernel, in QEMU's machine `virt`.

# Beyond the packages of the other tests: the list of kernels, an initramfs, a disk, and dtc.
board_packages=u-boot-menu,initramfs-tools,e2fsprogs,fdisk,device-tree-compiler
# For the initramfs; the root has no other modules.
board_modules=(fs/ext4/ext4 fs/jbd2/jbd2 fs/mbcache lib/crc/crc16)

need_board_root() {
	need_debian_root board-root 'Debian root for a board, with a kernel' \
		"$board_packages,linux-image-$(<"$target_folder/kernel/release")"
}

# RK3588 has such cores. With an older one the kernel would change page tables at each system call.
board_cpu=cortex-a76
board_memory=4096

# run_board CONSOLE U-BOOT DISK FLASH RESULTS STEP: boots the disk by U-Boot; its environment is in
# FLASH. Standard input says what to type at the console. The machine tells STEP to the guest.
run_board() {
	machine_with "$board_memory" "$5" -cpu "$board_cpu" -no-reboot -serial stdio -bios "$2" \
		-drive "file=$3,format=raw,if=none,id=disk,cache=unsafe" \
		-device "virtio-blk-pci,drive=disk,serial=$6" \
		-drive "file=$4,format=raw,if=pflash,index=1"
	on_console "$1" "${command[@]}"
}

# make_board_tree FILE: the tree of the machine, with another model, so that one sees who uses it.
# QEMU adds other devices if there is a firmware.
make_board_tree() {
	"$project/qemu/enter" "qemu-system-$qemu" -machine "$machine,dumpdtb=$1" -cpu "$board_cpu" \
		-smp 2 -m "$board_memory" -display none -nodefaults \
		-bios "$setup_folder/u-boot/u-boot.bin"
	"$project/qemu/enter" fdtput -t s "$1" / model 'virt from a file'
}

# make_board_disk FOLDER: creates FOLDER/disk, with Debian and the packages of the project, and an
# empty flash memory.
make_board_disk() {
	local folder=$1 kernel release module file additions=()
	kernel=$target_folder/kernel
	release=$(<"$kernel/release")
	for module in "${board_modules[@]}"; do
		module=usr/lib/modules/$release/kernel/$module.ko.xz
		additions+=("$module=$kernel/${module#usr/}")
	done
	make_board_tree "$folder/board.dtb"
	# U-Boot makes this name from its variable `board`.
	additions+=("usr/lib/linux-image-$release/qemu-arm.dtb=$folder/board.dtb")
	for file in "$project"/packages/guest/{board,make-disk,allocate,checks.sh}; do
		additions+=("opt/test/${file##*/}=$file:755")
	done
	file=board-test.service
	additions+=("etc/systemd/system/$file=$project/packages/guest/$file")
	package_additions
	run_with_progress 'disk of a board' "$folder/make-disk.log" \
		run_root "$target_folder/board-root/root.tar" "$folder/make-disk" 1200 \
		rdinit=/opt/test/make-disk "${additions[@]}"
	grep -q '^DISK: finished' "$folder/make-disk/console" ||
		die "the disk was not made; the console of the machine: $folder/make-disk/console"
	mv "$folder/make-disk/disk" "$folder/disk"
	truncate --size 64M "$folder/flash"
}
