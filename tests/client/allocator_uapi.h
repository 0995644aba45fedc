/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests of test programs to /dev/rk_allocator. `tests/guest-support/src/allocator.rs` has the
 * same definitions in Rust.
 *
 * A handle refers to a buffer or a page array that the driver has allocated. Handles belong to the
 * open file and are freed with it, unless RK_ALLOCATOR_KEEP is used. Errors are those of the
 * interface under test, and: ENOENT if the handle is unknown, ENXIO if the heap is unknown, ENODEV
 * if the device is unknown.
 */
#ifndef RK_ALLOCATOR_UAPI_H
#define RK_ALLOCATOR_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RK_ALLOCATOR_NAME_SIZE 64

enum rk_allocator_interface {
	/* rk_dma_heap_*(), linked */
	RK_ALLOCATOR_ROCKCHIP,
	/* dma_heap_*(), looked up at run time */
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
	/* If empty, the driver passes NULL. */
	char name[RK_ALLOCATOR_NAME_SIZE];
	__u64 length;
	__u32 fd_flags;
	__u32 heap_flags;
	/* out, for a descriptor */
	__s32 fd;
	/* out, for a buffer or pages */
	__u32 handle;
	/* out, for pages: physical address of the first page */
	__u64 physical_address;
};

/* How a driver frees a page array wrongly; the array stays allocated. */
enum rk_allocator_mistake {
	RK_ALLOCATOR_RIGHT,
	/* One page less than allocated, and one page more. */
	RK_ALLOCATOR_SHORT,
	RK_ALLOCATOR_LONG,
	/* The second page instead of the first. */
	RK_ALLOCATOR_SECOND_PAGE,
	/* A page of the page allocator that the heap never owned. */
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

/* The driver's own heap. It allocates its buffers and pages from the Rockchip heap. */
struct rk_allocator_heap {
	char name[RK_ALLOCATOR_NAME_SIZE];
	__u32 contiguous;
	/* An operation is missing. */
	__u32 incomplete;
	/* Heaps without the operation to allocate buffers are permitted. */
	__u32 permit_noalloc;
	/* How long it takes to allocate a buffer. */
	__u32 delay_ms;
	/* Size of its pools. */
	__u64 pool_bytes;
	/* What it reports as handed out. */
	__u64 handed_out;
};

/* A check that the driver makes itself. */
struct rk_allocator_check {
	char heap[RK_ALLOCATOR_NAME_SIZE];
	/* enum rk_allocator_check_kind */
	__u32 kind;
	__u32 round;
	__u64 address;
	/* In pages for single pages, else in bytes. */
	__u64 length;
};

enum rk_allocator_check_kind {
	RK_ALLOCATOR_CHECK_UNBOUND,
	RK_ALLOCATOR_CHECK_SINGLE_PAGES,
	RK_ALLOCATOR_CHECK_FRAMES,
	RK_ALLOCATOR_CHECK_PUTS,
	/* Adds a heap of this name and removes it. */
	RK_ALLOCATOR_CHECK_PASSING_HEAP,
};

struct rk_allocator_hold {
	__u64 address;
	__u64 pages;
};

struct rk_allocator_description {
	char heap[RK_ALLOCATOR_NAME_SIZE];
	/* out: rk_dma_heap_get_name() */
	char name[RK_ALLOCATOR_NAME_SIZE];
	/* out: whether rk_dma_heap_get_drvdata() is the driver's pointer, or NULL */
	__u32 own_data;
	__u32 no_data;
	/* out: number of DMA address bits of the device of rk_dma_heap_get_dev() */
	__u32 device_bits;
	/* out: rk_dma_heap_get_cma() is not NULL */
	__u32 has_area;
	/*
	 * out: result of rk_dma_heap_set_dev() for NULL and for a device, and the DMA bits and
	 * maximum segment size of that device afterwards
	 */
	__s32 set_no_device;
	__s32 set_device;
	__u32 set_bits;
	__u32 set_segment_size;
	/* out: calls that allocate buffers, allocate pages and free pages of the own heap */
	__u32 buffers;
	__u32 arrays;
	__u32 returned;
	__u32 padding;
};

#define RK_ALLOCATOR_ALLOCATE _IOWR('a', 0x00, struct rk_allocator_request)
#define RK_ALLOCATOR_FREE     _IOW('a', 0x01, struct rk_allocator_free)
/* Returns a new file descriptor. */
#define RK_ALLOCATOR_EXPORT _IOW('a', 0x02, __u32)
/* Keeps the memory of the handle until the driver is unloaded. */
#define RK_ALLOCATOR_KEEP     _IOW('a', 0x03, __u32)
#define RK_ALLOCATOR_TRANSFER _IOW('a', 0x04, struct rk_allocator_transfer)
/* The same through rk_vmap_contig_pfn(); `device` is ignored. */
#define RK_ALLOCATOR_MAPPED   _IOW('a', 0x05, struct rk_allocator_transfer)
#define RK_ALLOCATOR_ADD_HEAP _IOW('a', 0x06, struct rk_allocator_heap)
/* Fails with EBUSY if an operation of the heap is being called when it was removed. */
#define RK_ALLOCATOR_REMOVE_HEAP _IO('a', 0x07)
#define RK_ALLOCATOR_DESCRIBE	 _IOWR('a', 0x08, struct rk_allocator_description)
/*
 * Holds references to pages from a physical address on. Fails with EBUSY if the file holds some.
 * The first page is mapped by mmap() of one page. The last of both drops its reference.
 */
#define RK_ALLOCATOR_HOLD   _IOW('a', 0x09, struct rk_allocator_hold)
#define RK_ALLOCATOR_LET_GO _IO('a', 0x0a)
#define RK_ALLOCATOR_CHECK  _IOW('a', 0x0b, struct rk_allocator_check)
/* The driver forgets its own heap, without a put. */
#define RK_ALLOCATOR_FORGET_HEAP _IO('a', 0x0c)

#endif
