/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What test programs ask of /dev/rk_allocator. `tests/guest-support/src/allocator.rs` says the same in Rust.
 *
 * A handle stands for a buffer or a page array that the driver has allocated. Handles belong to the open file and go
 * with it, unless they are kept. Errors are those of the interface under test, and: ENOENT no such handle, ENXIO no such
 * heap, ENODEV no such device.
 */
#ifndef RK_ALLOCATOR_UAPI_H
#define RK_ALLOCATOR_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RK_ALLOCATOR_NAME_SIZE 64

enum rk_allocator_interface {
	/* rk_dma_heap_*(), linked. */
	RK_ALLOCATOR_ROCKCHIP,
	/* dma_heap_*(), looked up. */
	RK_ALLOCATOR_ANDROID,
};

enum rk_allocator_kind {
	RK_ALLOCATOR_BUFFER,
	RK_ALLOCATOR_DESCRIPTOR,
	RK_ALLOCATOR_PAGES,
};

struct rk_allocator_request {
	/* enum rk_allocator_interface */
	__u32 interface;
	/* enum rk_allocator_kind */
	__u32 kind;
	char heap[RK_ALLOCATOR_NAME_SIZE];
	/* Empty: the driver passes none. */
	char name[RK_ALLOCATOR_NAME_SIZE];
	__u64 length;
	__u32 fd_flags;
	__u32 heap_flags;
	/* out, of a descriptor */
	__s32 fd;
	/* out, of anything else */
	__u32 handle;
	/* out, of pages: the physical address of the first */
	__u64 physical_address;
};

/* How a driver gets it wrong when it gives a page array back; it keeps the array then. */
enum rk_allocator_mistake {
	RK_ALLOCATOR_RIGHT,
	/* One page less than was allocated, one more. */
	RK_ALLOCATOR_SHORT,
	RK_ALLOCATOR_LONG,
	/* The second page in place of the first. */
	RK_ALLOCATOR_SECOND_PAGE,
	/* A page of the kernel's that was never the heap's. */
	RK_ALLOCATOR_FOREIGN_PAGE,
};

struct rk_allocator_free {
	__u32 handle;
	/* enum rk_allocator_mistake */
	__u32 mistake;
};

/* A device reads or writes a page array. */
struct rk_allocator_transfer {
	__u32 handle;
	__u32 write;
	char device[RK_ALLOCATOR_NAME_SIZE];
	__u64 offset;
	__u64 length;
	/* A pointer to `length` bytes. */
	__u64 data;
};

/* The driver's own heap. Buffers and pages of it are the Rockchip heap's, which the driver passes on. */
struct rk_allocator_heap {
	char name[RK_ALLOCATOR_NAME_SIZE];
	__u32 contiguous;
	/* One of the operations is missing, so it must be refused. */
	__u32 incomplete;
};

struct rk_allocator_description {
	char heap[RK_ALLOCATOR_NAME_SIZE];
	/* out: rk_dma_heap_get_name() */
	char name[RK_ALLOCATOR_NAME_SIZE];
	/* out: rk_dma_heap_get_drvdata() is what the driver added the heap with; it is NULL */
	__u32 own_data;
	__u32 no_data;
	/* out: rk_dma_heap_get_dev() can be used for DMA of this many bits */
	__u32 device_bits;
	/* out: rk_dma_heap_get_cma() is not NULL */
	__u32 has_area;
	/* out: rk_dma_heap_set_dev() of NULL, and of a device; the bits and the segment size that it has then */
	__s32 set_no_device;
	__s32 set_device;
	__u32 set_bits;
	__u32 set_segment_size;
	/* out: how often the driver's own heap was asked for a buffer, for pages, and to take pages back */
	__u32 buffers;
	__u32 arrays;
	__u32 returned;
	__u32 padding;
};

#define RK_ALLOCATOR_ALLOCATE _IOWR('a', 0x00, struct rk_allocator_request)
#define RK_ALLOCATOR_FREE     _IOW('a', 0x01, struct rk_allocator_free)
/* Returns a new file descriptor. */
#define RK_ALLOCATOR_EXPORT _IOW('a', 0x02, __u32)
/* The handle's memory stays until the driver is unloaded. */
#define RK_ALLOCATOR_KEEP     _IOW('a', 0x03, __u32)
#define RK_ALLOCATOR_TRANSFER _IOW('a', 0x04, struct rk_allocator_transfer)
/* The same through rk_vmap_contig_pfn(); `device` is ignored. */
#define RK_ALLOCATOR_MAPPED	 _IOW('a', 0x05, struct rk_allocator_transfer)
#define RK_ALLOCATOR_ADD_HEAP	 _IOW('a', 0x06, struct rk_allocator_heap)
#define RK_ALLOCATOR_REMOVE_HEAP _IO('a', 0x07)
#define RK_ALLOCATOR_DESCRIBE	 _IOWR('a', 0x08, struct rk_allocator_description)

#endif
