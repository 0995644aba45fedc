// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the functions that src/exports/ defines, and states the version of the module, for which
 * the kernel crate's module! macro has no field. Kbuild reads it from Cargo.toml.
 */

#include <linux/dma-heap.h>
#include <linux/export.h>
#include <linux/module.h>

#include <linux/rk-dma-heap.h>

MODULE_VERSION(RK_DMA_HEAP_VERSION);

EXPORT_SYMBOL_GPL(rk_dma_heap_find);
EXPORT_SYMBOL_GPL(rk_dma_heap_put);
EXPORT_SYMBOL_GPL(rk_dma_heap_set_dev);
EXPORT_SYMBOL_GPL(rk_dma_heap_buffer_alloc);
EXPORT_SYMBOL_GPL(rk_dma_heap_buffer_free);
EXPORT_SYMBOL_GPL(rk_dma_heap_bufferfd_alloc);
EXPORT_SYMBOL_GPL(rk_dma_heap_alloc_contig_pages);
EXPORT_SYMBOL_GPL(rk_dma_heap_free_contig_pages);
EXPORT_SYMBOL_GPL(rk_dma_heap_alloc_pages);
EXPORT_SYMBOL_GPL(rk_dma_heap_free_pages);
EXPORT_SYMBOL_GPL(rk_dma_heap_add);
EXPORT_SYMBOL_GPL(rk_dma_heap_get_drvdata);
EXPORT_SYMBOL_GPL(rk_dma_heap_get_dev);
EXPORT_SYMBOL_GPL(rk_dma_heap_get_name);
EXPORT_SYMBOL_GPL(rk_dma_heap_get_cma);
EXPORT_SYMBOL_GPL(rk_dma_heap_total_inc);
EXPORT_SYMBOL_GPL(rk_dma_heap_total_dec);
EXPORT_SYMBOL_GPL(rk_dma_heap_cma_setup);
EXPORT_SYMBOL_GPL(rk_vmap_contig_pfn);

/* Kbuild defines these for names that the kernel exports itself. */
#ifndef RK_KERNEL_HAS_dma_heap_find
EXPORT_SYMBOL_GPL(dma_heap_find);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_put
EXPORT_SYMBOL_GPL(dma_heap_put);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_buffer_alloc
EXPORT_SYMBOL_GPL(dma_heap_buffer_alloc);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_buffer_free
EXPORT_SYMBOL_GPL(dma_heap_buffer_free);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_bufferfd_alloc
EXPORT_SYMBOL_GPL(dma_heap_bufferfd_alloc);
#endif

#ifndef CONFIG_DMABUF_HEAPS
#ifndef RK_KERNEL_HAS_dma_heap_get_drvdata
EXPORT_SYMBOL_GPL(dma_heap_get_drvdata);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_get_name
EXPORT_SYMBOL_GPL(dma_heap_get_name);
#endif
#endif
