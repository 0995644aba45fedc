/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests of test programs to /dev/rk_edu/ADDRESS, where ADDRESS is that of the PCI device.
 * `tests/guest-support/src/edu/raw.rs` has the same definitions in Rust.
 *
 * A handle refers to a dma-buf that is attached to the device. Handles belong to the open file and
 * are released with it. Errors: ENOENT if the handle is unknown, EBUSY if it is mapped already,
 * EINVAL if it is not mapped or the range is outside of what is mapped.
 */
#ifndef RK_EDU_UAPI_H
#define RK_EDU_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct rk_edu_attach {
	__s32 fd;
	/* out */
	__u32 handle;
};

/* Directions are enum dma_data_direction: 0 both, 1 to the device, 2 from the device. */
struct rk_edu_map {
	__u32 handle;
	__u32 direction;
};

/*
 * The device reads (1, to the device) or writes (2, from the device) that range of the buffer,
 * whatever direction it is mapped for. `data` is a pointer to as many bytes: those that the device
 * has read, or those for it to write.
 */
struct rk_edu_transfer {
	__u32 handle;
	__u32 direction;
	__u64 offset;
	__u64 length;
	__u64 data;
};

#define RK_EDU_ATTACH	_IOWR('e', 0x00, struct rk_edu_attach)
#define RK_EDU_DETACH	_IOW('e', 0x01, __u32)
#define RK_EDU_MAP	_IOW('e', 0x02, struct rk_edu_map)
#define RK_EDU_UNMAP	_IOW('e', 0x03, __u32)
#define RK_EDU_TRANSFER _IOW('e', 0x04, struct rk_edu_transfer)

#endif
