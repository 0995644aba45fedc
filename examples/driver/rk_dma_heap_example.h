/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What programs need for /dev/rk-dma-heap-example.
 */
#ifndef _RK_DMA_HEAP_EXAMPLE_H
#define _RK_DMA_HEAP_EXAMPLE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Allocates a dma-buf of that size in bytes. Returns its file descriptor. */
#define RK_DMA_HEAP_EXAMPLE_ALLOC _IOW('x', 0, __u64)

/* Copies the driver's frame into the dma-buf of that file descriptor, as far as it has room. */
#define RK_DMA_HEAP_EXAMPLE_COPY _IOW('x', 1, __s32)

#endif
