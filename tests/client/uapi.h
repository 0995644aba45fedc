/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What test programs ask of /dev/rk_client/NAME. `tests/guest-support/src/client.rs` says the same in Rust.
 *
 * A handle stands for a dma-buf that is attached to the device; handles belong to the open file and go with it.
 * Errors: ENOENT no such handle, EBUSY mapped already, EINVAL not mapped or outside of the buffer.
 */
#ifndef RK_CLIENT_UAPI_H
#define RK_CLIENT_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Where memory is seen from. */
enum rk_client_view {
	/* The memory that the device reaches, through the kernel's own, cached mapping of it. */
	RK_CLIENT_CACHED,
	/*
	 * The same through a fresh mapping that bypasses the caches, as a device that does not snoop. Where the kernel has
	 * no mapping of its own, this is what RK_CLIENT_CACHED does as well.
	 */
	RK_CLIENT_UNCACHED,
	/* The exporter's kernel mapping, after RK_CLIENT_VMAP. */
	RK_CLIENT_KERNEL,
	/* The calling process's own mapping, at any address of it: for RK_CLIENT_MEMORY_TYPE alone. */
	RK_CLIENT_USER,
};

enum rk_client_operation {
	RK_CLIENT_READ,
	RK_CLIENT_WRITE,
	RK_CLIENT_FILL,
	RK_CLIENT_FIND_NONZERO,
};

/* How the page tables say that the CPU treats memory. */
enum rk_client_memory_type {
	RK_CLIENT_TYPE_UNKNOWN,
	RK_CLIENT_TYPE_DEVICE,
	/* Normal memory, not cached: what the kernel calls write-combined. */
	RK_CLIENT_TYPE_WRITE_COMBINED,
	RK_CLIENT_TYPE_WRITE_BACK,
};

struct rk_client_attach {
	__s32 fd;
	/* out */
	__u32 handle;
};

/* Directions are those of the kernel: 0 both, 1 to the device, 2 from the device. */
struct rk_client_transfer {
	__u32 handle;
	__u32 direction;
};

/* Takes the buffer's reservation lock and gives it back after that time. */
struct rk_client_hold {
	__u32 handle;
	__u32 milliseconds;
};

struct rk_client_segment {
	__u64 dma_address;
	/* The CPU's address of what the device finds there. */
	__u64 physical_address;
	__u64 length;
};

struct rk_client_segments {
	__u32 handle;
	/* in: how many there is room for; out: how many there are */
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
	/* The byte for RK_CLIENT_FILL. */
	__u32 value;
	__u64 offset;
	__u64 length;
	/* A pointer to `length` bytes for RK_CLIENT_READ and RK_CLIENT_WRITE. */
	__u64 data;
	/* out, for RK_CLIENT_FIND_NONZERO: its offset in the buffer; where there is none, the end of the range */
	__u64 found;
};

struct rk_client_type_query {
	__u32 handle;
	/* enum rk_client_view */
	__u32 view;
	/* An offset in the buffer; with RK_CLIENT_USER an address, and `handle` is ignored. */
	__u64 position;
	/* out: enum rk_client_memory_type */
	__u32 type;
	/* out: what the architecture calls it (MAIR attribute, page table bits) */
	__u32 attribute;
};

/* Allocates that much coherent memory for the device, as drivers do by themselves, and frees it. */
struct rk_client_coherent {
	__u64 length;
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

#endif
