# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A virtual machine whose root is an initramfs made of a tar archive, and which can write an archive to its disk.

# run_root ROOT.tar FOLDER SECONDS ARGUMENTS [NAME=FILE:MODE]...: boots the target's kernel with that root, and these files
# in it. What the machine writes to its disk is FOLDER/disk, what it says FOLDER/console, and through its port FOLDER/results.
run_root() {
	local archive=$1 folder=$2 limit=$3 arguments=$4
	shift 4
	mkdir -p "$folder"
	"$project/qemu/enter" "$project/packages/lib/tar_to_cpio.py" "$archive" "$@" >"$folder/root.cpio"
	rm -f "$folder/disk"
	truncate --size 2G "$folder/disk"
	: >"$folder/results"
	# Without a clock of its own the guest's time would be that of no certificate and no file.
	timeout --kill-after=5 "$limit" "$project/qemu/enter" "qemu-system-$qemu" -machine "$machine" -cpu "$cpu" -smp 2 -m 3G \
		-display none -nodefaults -no-reboot -serial "file:$folder/console" \
		-kernel "$target_folder/kernel/vmlinuz" -initrd "$folder/root.cpio" -append "${kernel_arguments//,/ } $arguments" \
		-drive "file=$folder/disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk \
		-device virtio-serial-pci -chardev "file,id=results,path=$folder/results" \
		-device virtserialport,chardev=results,name=results </dev/null
	rm "$folder/root.cpio"
}
