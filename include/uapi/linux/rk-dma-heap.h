/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The Rockchip heap's node, /dev/rk_dma_heap/rk-dma-heap-cma, as its programs open it. The node takes the number of
 * <linux/dma-heap.h> as well.
 */
#ifndef _UAPI_LINUX_RK_DMA_HEAP_H
#define _UAPI_LINUX_RK_DMA_HEAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* What fd_flags and heap_flags may hold. Include <fcntl.h> first. */
#define RK_DMA_HEAP_VALID_FD_FLAGS   (O_CLOEXEC | O_ACCMODE)
#define RK_DMA_HEAP_VALID_HEAP_FLAGS (0)

/**
 * struct rk_dma_heap_allocation_data - a request for a buffer
 * @len: size in bytes; whole pages are given
 * @fd: 0 on entry, the buffer's file descriptor on return
 * @fd_flags: flags of the descriptor
 * @heap_flags: 0
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
