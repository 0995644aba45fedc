/* SPDX-License-Identifier: GPL-2.0 */
/*
 * <linux/dma-heap.h> for drivers that expect the functions of Android's or Rockchip's kernels in
 * it. This folder must precede those of the kernel in the search path. docs/drivers.md has the
 * line for that.
 */
#ifndef _RK_DMA_HEAP_LINUX_DMA_HEAP_H
#define _RK_DMA_HEAP_LINUX_DMA_HEAP_H

#include_next <linux/dma-heap.h>
#include <linux/rk-dma-heap.h>

#endif
