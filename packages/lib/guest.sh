# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A virtual machine whose root is an initramfs made of a tar archive, and which can write an archive to its disk; and tests
# in it, step by step. `passed` and `failed` count.

passed=0 failed=0

# run_root ROOT.tar FOLDER SECONDS ARGUMENTS [NAME=FILE:MODE]...: boots the target's kernel with that root, and these files
# in it. What the machine writes to its disk is FOLDER/disk, what it says FOLDER/console, and through its port FOLDER/results.
run_root() {
	local archive=$1 folder=$2 limit=$3 arguments=$4 memory_mib
	shift 4
	mkdir -p "$folder"
	"$project/qemu/enter" "$project/packages/lib/tar_to_cpio.py" "$archive" "$@" >"$folder/root.cpio"
	rm -f "$folder/disk"
	truncate --size 4G "$folder/disk"
	: >"$folder/results"
	# The root lies there twice while it is unpacked, and may take half of it.
	memory_mib=$((1024 + 3 * $(du -m "$archive" | cut -f 1)))
	# Without a clock of its own the guest's time would be that of no certificate and no file.
	timeout --kill-after=5 "$limit" "$project/qemu/enter" "qemu-system-$qemu" -machine "$machine" -cpu "$cpu" -smp 2 -m "$memory_mib" \
		-display none -nodefaults -no-reboot -serial "file:$folder/console" \
		-kernel "$target_folder/kernel/vmlinuz" -initrd "$folder/root.cpio" -append "${kernel_arguments//,/ } $arguments" \
		-drive "file=$folder/disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk \
		-device virtio-serial-pci -chardev "file,id=results,path=$folder/results" \
		-device virtserialport,chardev=results,name=results </dev/null
	rm "$folder/root.cpio"
}

# What the steps need in the root, for run_root, as `additions`.
test_additions() {
	local file
	additions=("etc/systemd/system/install-test@.service=$project/packages/guest/install-test@.service")
	for file in "$project"/packages/guest/{step,allocate}; do
		additions+=("opt/test/${file##*/}=$file:755")
	done
	additions+=("opt/test/checks.sh=$project/packages/guest/checks.sh")
}

# tell RESULTS: shows and counts them.
tell() {
	sed 's/^/  /' "$1"
	passed=$((passed + $(grep -c '^ok ' "$1" || true)))
	failed=$((failed + $(grep -c '^not ok ' "$1" || true)))
}

# run_steps ROOT.tar LOGS STEP...: the first machine gets that root and the `additions`, each next one what the one before it
# has left.
run_steps() {
	local archive=$1 logs=$2 step
	shift 2
	for step; do
		printf '%s:\n' "$step"
		run_root "$archive" "$logs/$step" 1200 "rdinit=/sbin/init systemd.wants=install-test@$step.service" "${additions[@]}" ||
			printf 'not ok the machine ended by itself; its console: %s\n' "$logs/$step/console" >>"$logs/$step/results"
		if ! grep -q "^done $step" "$logs/$step/results"; then
			printf 'not ok the step came to no end; its console: %s\n' "$logs/$step/console" >>"$logs/$step/results"
		fi
		tell "$logs/$step/results"
		# That of set-up stays.
		[[ $archive != "$logs"/* ]] || rm "$archive"
		archive=$logs/$step/disk
		additions=()
		grep -q "^done $step" "$logs/$step/results" || break
	done
	rm -f "$logs"/*/disk
}

# The closing line; fails where something has.
close_test() {
	printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
	((passed > 0 && failed == 0))
}
