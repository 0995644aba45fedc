/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctl of /dev/rk_dma_heap/rk-dma-heap-cma, the device node of the Rockchip heap. The node
 * also accepts the ioctl of <linux/dma-heap.h>.
 */
#ifndef _UAPI_LINUX_RK_DMA_HEAP_H
#define _UAPI_LINUX_RK_DMA_HEAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Heap flag: the CPU maps the buffer write-combined. EINVAL where devices snoop (x86). */
#ifndef RK_DMA_HEAP_UNCACHED
#define RK_DMA_HEAP_UNCACHED (1 << 0)
#endif

/* Valid bits of fd_flags and heap_flags. Include <fcntl.h> first. */
#define RK_DMA_HEAP_VALID_FD_FLAGS   (O_CLOEXEC | O_ACCMODE)
#define RK_DMA_HEAP_VALID_HEAP_FLAGS (RK_DMA_HEAP_UNCACHED)

/**
 * struct rk_dma_heap_allocation_data - argument of RK_DMA_HEAP_IOCTL_ALLOC
 * @len: size in bytes, rounded up to whole pages
 * @fd: must be 0; returns the file descriptor of the dma-buf
 * @fd_flags: flags of the file descriptor
 * @heap_flags: 0 or RK_DMA_HEAP_UNCACHED
 */
struct rk_dma_heap_allocation_data {
	__u64 len;
	__u32 fd;
	__u32 fd_flags;
	__u64 heap_flags;
};

#define RK_DMA_HEAP_IOC_MAGIC 'R'

#define RK_DMA_HEAP_IOCTL_ALLOC                                                                    \
	_IOWR(RK_DMA_HEAP_IOC_MAGIC, 0x0, struct rk_dma_heap_allocation_data)

#endif
