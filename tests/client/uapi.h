/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests of test programs to /dev/rk_client/NAME. `tests/guest-support/src/client.rs` has the
 * same definitions in Rust.
 *
 * A handle refers to a dma-buf that is attached to the device. Handles belong to the open file and
 * are released with it. Errors: ENOENT if the handle is unknown, EBUSY if it is mapped already,
 * EINVAL if it is not mapped or the range is outside of the buffer.
 *
 * mmap() with an offset of that many pages as its handle maps a buffer from its start. The mapping
 * does not depend on the handle afterwards.
 */
#ifndef RK_CLIENT_UAPI_H
#define RK_CLIENT_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The mapping through which memory is accessed. */
enum rk_client_view {
	/* The memory that the device accesses, through the kernel's cached linear map. */
	RK_CLIENT_CACHED,
	/*
	 * The same memory through a new mapping that bypasses the caches, like a device that does
	 * not snoop. RK_CLIENT_CACHED does this too if the memory is not in the linear map.
	 */
	RK_CLIENT_UNCACHED,
	/* The exporter's kernel mapping, after RK_CLIENT_VMAP. */
	RK_CLIENT_KERNEL,
	/* The calling process's mapping, at any address; only for RK_CLIENT_MEMORY_TYPE. */
	RK_CLIENT_USER,
};

enum rk_client_operation {
	RK_CLIENT_READ,
	RK_CLIENT_WRITE,
	RK_CLIENT_FILL,
	RK_CLIENT_FIND_NONZERO,
};

/* Memory type in the page tables. */
enum rk_client_memory_type {
	RK_CLIENT_TYPE_UNKNOWN,
	RK_CLIENT_TYPE_DEVICE,
	/* Normal, non-cacheable memory, which the kernel calls write-combined. */
	RK_CLIENT_TYPE_WRITE_COMBINED,
	RK_CLIENT_TYPE_WRITE_BACK,
};

struct rk_client_attach {
	__s32 fd;
	/* out */
	__u32 handle;
};

/* Directions are enum dma_data_direction: 0 both, 1 to the device, 2 from the device. */
struct rk_client_transfer {
	__u32 handle;
	__u32 direction;
};

/* Holds the buffer's reservation lock for that time, or until a signal arrives. */
struct rk_client_hold {
	__u32 handle;
	__u32 milliseconds;
};

struct rk_client_segment {
	__u64 dma_address;
	/* The CPU's physical address of the memory at dma_address. */
	__u64 physical_address;
	__u64 length;
};

struct rk_client_segments {
	__u32 handle;
	/* in: capacity of the array; out: number of segments */
	__u32 count;
	/* A pointer to struct rk_client_segment[]. */
	__u64 segments;
};

struct rk_client_access {
	__u32 handle;
	/* enum rk_client_view */
	__u32 view;
	/* enum rk_client_operation */
	__u32 operation;
	/* Byte for RK_CLIENT_FILL */
	__u32 value;
	__u64 offset;
	__u64 length;
	/* A pointer to `length` bytes for RK_CLIENT_READ and RK_CLIENT_WRITE. */
	__u64 data;
	/* out, for RK_CLIENT_FIND_NONZERO: offset in the buffer, or the end of the range if none */
	__u64 found;
};

struct rk_client_type_query {
	__u32 handle;
	/* enum rk_client_view */
	__u32 view;
	/* Offset in the buffer; with RK_CLIENT_USER an address, and `handle` is ignored */
	__u64 position;
	/* out: enum rk_client_memory_type */
	__u32 type;
	/* out: the architecture's value (MAIR attribute, page table bits) */
	__u32 attribute;
};

/* Allocates that many bytes of coherent memory for the device, like a driver, and frees them. */
struct rk_client_coherent {
	__u64 length;
};

/* Maps that many bytes into the kernel by vmap(), all of one page, until the file is closed. */
struct rk_client_occupy {
	__u64 length;
};

/* Takes all pages below 4 GiB that the kernel gives without killing a process, and frees them. */
struct rk_client_low {
	/* out: number of pages */
	__u64 count;
};

/* Calls of the driver's own VMA operations for mappings by mmap(): none is right. */
struct rk_client_late_calls {
	/* out */
	__u32 count;
};

/* An entry of the calling process's page tables, by follow_pfnmap_start(). EINVAL: none. */
struct rk_client_follow {
	__u64 address;
	/* out */
	__u64 physical_address;
	/* out: 1 if the entry permits writing */
	__u32 writable;
	__u32 reserved;
};

/*
 * Exports a page. When a device is attached for the first time, another thread holds the
 * reservation lock for that time, from before the core acquires it. 0: it does not.
 */
struct rk_client_export {
	__u32 milliseconds;
	/* out */
	__s32 fd;
};

/* Tells the kernel that the memory of a page has failed: memory_failure(). */
struct rk_client_fail {
	__u64 physical_address;
	/* Whether this process has to be told, as if it had accessed the memory. */
	__u32 action_required;
	/* out: what the kernel returned, 0 or a negative error number */
	__s32 result;
};

#define RK_CLIENT_ATTACH      _IOWR('r', 0x00, struct rk_client_attach)
#define RK_CLIENT_DETACH      _IOW('r', 0x01, __u32)
#define RK_CLIENT_MAP	      _IOW('r', 0x02, struct rk_client_transfer)
#define RK_CLIENT_UNMAP	      _IOW('r', 0x03, __u32)
#define RK_CLIENT_SEGMENTS    _IOWR('r', 0x04, struct rk_client_segments)
#define RK_CLIENT_ACCESS      _IOWR('r', 0x05, struct rk_client_access)
#define RK_CLIENT_VMAP	      _IOW('r', 0x06, __u32)
#define RK_CLIENT_VUNMAP      _IOW('r', 0x07, __u32)
#define RK_CLIENT_BEGIN	      _IOW('r', 0x08, struct rk_client_transfer)
#define RK_CLIENT_END	      _IOW('r', 0x09, struct rk_client_transfer)
#define RK_CLIENT_MEMORY_TYPE _IOWR('r', 0x0a, struct rk_client_type_query)
#define RK_CLIENT_HOLD	      _IOW('r', 0x0b, struct rk_client_hold)
#define RK_CLIENT_COHERENT    _IOW('r', 0x0c, struct rk_client_coherent)
#define RK_CLIENT_OCCUPY      _IOW('r', 0x0d, struct rk_client_occupy)
#define RK_CLIENT_LOW	      _IOR('r', 0x0e, struct rk_client_low)
#define RK_CLIENT_LATE_CALLS  _IOR('r', 0x10, struct rk_client_late_calls)
#define RK_CLIENT_FOLLOW      _IOWR('r', 0x11, struct rk_client_follow)
#define RK_CLIENT_EXPORT      _IOWR('r', 0x12, struct rk_client_export)
/* Detaches the buffer and leaves it mapped. */
#define RK_CLIENT_LEAVE _IOW('r', 0x13, __u32)
#define RK_CLIENT_FAIL	_IOWR('r', 0x14, struct rk_client_fail)

#endif
