# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # variables of common.sh and install_root.sh
#
# A Debian with programs that use heaps, and Rockchip's libraries, which Debian does not have.

# Beyond the packages of the other tests. Not among them: ffmpeg, libcamera-tools and
# mesa-vulkan-drivers, each of which needs LLVM, 280 to 350 MB.
program_packages=python3,v4l-utils,libdrm-tests,gstreamer1.0-tools,gstreamer1.0-plugins-base
program_packages+=,gstreamer1.0-plugins-good,gstreamer1.0-libcamera,python3-libcamera
# MPP, librga, and FFmpeg with both, as a wheel of Python.
rockchip_wheel=pyav-rkmpp==18.1.0.post2
rockchip_sum=b4a77b85a3667a253b5f3c35bb778d3d0880a298168411756ead2cb3ce117e74
# The drivers of the devices that the programs use.
program_modules=(vivid bochs)

need_programs_root() {
	need_debian_root programs-root 'Debian root with programs' "$program_packages"
}

# make_rockchip_libraries WHEEL SHA256: creates the libraries of the wheel in the current folder,
# without debug information, which is most of them. pip is not in the build root: another list of
# packages would be another root.
make_rockchip_libraries() {
	local file
	fetch_tools pip python3-pip
	printf '%s --hash=sha256:%s\n' "$1" "$2" >requirements
	PYTHONPATH=$PWD/usr/lib/python3/dist-packages "$project/qemu/enter" python3 -m pip \
		download --require-hashes --requirement requirements --no-deps --no-cache-dir \
		--only-binary=:all: --platform manylinux_2_28_aarch64 --python-version 3.12
	"$project/qemu/enter" python3 -m zipfile --extract ./*.whl wheel
	mkdir lib
	for file in wheel/pyav_rkmpp.libs/*; do
		"$project/qemu/enter" llvm-strip-19 --strip-debug -o "lib/${file##*/}" "$file"
	done
	rm -r usr wheel ./*.whl requirements
}

need_rockchip_libraries() {
	stage rockchip-libraries "Rockchip's MPP, librga and FFmpeg (60 MB)" rockchip-libraries \
		make_rockchip_libraries "$rockchip_wheel" "$rockchip_sum"
}

# Sets `additions` to what the machine needs beyond its root, in the format of run_root.
program_additions() {
	local modules file name release
	release=$(<"$target_folder/kernel/release")
	modules=$target_folder/kernel/lib/modules/$release
	test_additions
	additions+=("opt/test/step=$project/packages/guest/programs:755")
	for file in "$project"/packages/guest/programs.d/*; do
		additions+=("opt/test/${file##*/}=$file:755")
	done
	file=usr/share/libcamera/pipeline/virtual/virtual.yaml
	additions+=("$file=$project/packages/guest/programs.d/virtual.yaml")
	package_additions
	for file in "$setup_folder"/rockchip-libraries/lib/*; do
		additions+=("opt/rockchip/${file##*/}=$file:755")
	done
	# A line of modules.dep has all that the module needs, directly or not.
	while read -r file; do
		additions+=("usr/lib/modules/$release/$file=$modules/$file")
	done < <(for name in "${program_modules[@]}"; do
		grep "/$name\.ko" "$modules/modules.dep" | tr -d : | tr ' ' '\n' | grep .
	done | sort -u)
}

# run_programs LOGS: boots the root with a display whose memory root can read, which the kernel must
# not keep for the driver.
run_programs() {
	program_additions
	# shellcheck disable=SC2034 # run_root reads it
	machine_devices=(-device bochs-display)
	run_root "$target_folder/programs-root/root.tar" "$1" 1800 \
		"rdinit=/sbin/init systemd.wants=install-test@programs.service iomem=relaxed" \
		"${additions[@]}" ||
		printf 'not ok the machine failed, or did not end; its console: %s\n' "$1/console" \
			>>"$1/results"
}
