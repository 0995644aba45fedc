# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh
#
# A virtual machine whose root is an initramfs created from a tar archive, and which can write an
# archive to its disk. Also runs tests in it, step by step. `passed`, `failed` and `skipped` count
# the results.

passed=0 failed=0 skipped=0
# Further arguments of QEMU for run_root.
machine_devices=()

# memory_for ROOT.tar: prints the MiB of a machine that has this root in memory. It is there twice
# while it is unpacked, and may use half of the memory.
memory_for() {
	printf '%d' $((1024 + 3 * $(du -m "$1" | cut -f 1)))
}

# machine_with MIB RESULTS [ARGUMENT]...: sets `command` to a virtual machine of the target, with
# further arguments of QEMU. The file RESULTS, which is emptied, receives what the machine writes
# to its port.
machine_with() {
	local memory_mib=$1 results=$2
	shift 2
	: >"$results"
	# shellcheck disable=SC2054 # the commas are QEMU's
	command=("$project/qemu/enter" "qemu-system-$qemu" -machine "$machine" -smp 2
		-m "$memory_mib" -display none -nodefaults
		-device virtio-serial-pci -chardev "file,id=results,path=$results"
		-device virtserialport,chardev=results,name=results "$@")
}

# run_root ROOT.tar FOLDER SECONDS ARGUMENTS [NAME=FILE:MODE]...: boots the target's kernel with
# that root and these additional files. FOLDER/disk receives what the machine writes to its disk,
# FOLDER/console its console output, FOLDER/results the output of its port.
run_root() {
	local archive=$1 folder=$2 limit=$3 arguments=$4 status=0
	shift 4
	mkdir -p "$folder"
	"$project/qemu/enter" "$project/packages/lib/tar_to_cpio.py" "$archive" "$@" \
		>"$folder/root.cpio"
	rm -f "$folder/disk"
	truncate --size 4G "$folder/disk"
	# The machine must have a clock: at the epoch, certificates and files are from the future.
	machine_with "$(memory_for "$archive")" "$folder/results" -cpu "$cpu" -no-reboot \
		-serial "file:$folder/console" \
		-kernel "$target_folder/kernel/vmlinuz" -initrd "$folder/root.cpio" \
		-append "${kernel_arguments//,/ } $arguments" \
		-drive "file=$folder/disk,format=raw,if=none,id=disk,cache=unsafe" \
		-device virtio-blk-pci,drive=disk "${machine_devices[@]}"
	timeout --kill-after=5 "$limit" "${command[@]}" </dev/null || status=$?
	rm "$folder/root.cpio"
	return "$status"
}

# Sets `additions` to the files that the steps need in the root, in the format of run_root.
test_additions() {
	local file unit=install-test@.service
	additions=("etc/systemd/system/$unit=$project/packages/guest/$unit")
	for file in "$project"/packages/guest/{step,allocate}; do
		additions+=("opt/test/${file##*/}=$file:755")
	done
	additions+=("opt/test/checks.sh=$project/packages/guest/checks.sh")
}

# Adds the packages of the target to `additions`. Two of them provide a module: these tests install
# the one built here. DKMS has a separate test.
package_additions() {
	local file
	while read -r file; do
		additions+=("opt/test/${file##*/}=$file")
	done < <(find "$project/build/packages/$target" -name '*.deb' ! -name 'rk-dma-heap-dkms_*')
}

# report_results RESULTS: prints and counts them.
report_results() {
	sed 's/^/  /' "$1"
	passed=$((passed + $(grep -c '^ok ' "$1" || true)))
	failed=$((failed + $(grep -c '^not ok ' "$1" || true)))
	skipped=$((skipped + $(grep -c '^skip ' "$1" || true)))
}

# expect_end STEP RESULTS CONSOLE: adds a failure if the step did not get to its end.
expect_end() {
	grep -q "^done $1" "$2" ||
		printf 'not ok the step did not finish; its console: %s\n' "$3" >>"$2"
}

# close_step STEP RESULTS CONSOLE: the same, and prints and counts the results.
close_step() {
	expect_end "$@"
	report_results "$2"
}

# run_steps ROOT.tar LOGS STEP[:TARGET]...: boots one machine per step, with the kernel of TARGET
# from that step on. The first one gets that root and the `additions`, each further one the root
# that its predecessor wrote to the disk.
run_steps() {
	local archive=$1 logs=$2 step
	shift 2
	for step; do
		[[ $step != *:* ]] || read_target "${step#*:}"
		step=${step%%:*}
		printf '%s:\n' "$step"
		run_root "$archive" "$logs/$step" 1200 \
			"rdinit=/sbin/init systemd.wants=install-test@$step.service" \
			"${additions[@]}" ||
			printf 'not ok the machine failed, or did not end; its console: %s\n' \
				"$logs/$step/console" >>"$logs/$step/results"
		close_step "$step" "$logs/$step/results" "$logs/$step/console"
		# The root from set-up is kept.
		[[ $archive != "$logs"/* ]] || rm "$archive"
		archive=$logs/$step/disk
		additions=()
		grep -q "^done $step" "$logs/$step/results" || break
	done
	rm -f "$logs"/*/disk
}

# Prints the summary. Fails if a check failed or none ran.
close_test() {
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	((passed > 0 && failed == 0))
}
