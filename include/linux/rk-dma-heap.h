/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interface of the rk_dma_heap module for other drivers.
 *
 * All functions are exported for GPL-compatible modules only. They may sleep unless stated
 * otherwise.
 *
 * The declarations do not depend on the kernel's configuration. A driver that calls the functions
 * depends on the module. A driver for which the module is optional looks them up with symbol_get().
 */
#ifndef _LINUX_RK_DMA_HEAP_H
#define _LINUX_RK_DMA_HEAP_H

#include <linux/dma-buf.h>
#include <linux/pgtable.h>
#include <linux/types.h>

struct cma;
struct device;
struct page;
struct rk_dma_heap;

/**
 * struct rk_dma_heap_ops - operations of a driver's own heap
 * @allocate: Allocates a dma-buf of @len bytes, a multiple of PAGE_SIZE. The flags are valid.
 *	@name may be NULL. Returns the dma-buf or an ERR_PTR().
 * @alloc_contig_pages: Allocates @len bytes of contiguous pages. Mandatory if support_cma is set.
 *	Returns the first page or an ERR_PTR().
 * @free_contig_pages: Frees pages that @alloc_contig_pages has allocated. Mandatory if support_cma
 *	is set.
 * @get_pool_size: Returns the size of the heap's pools in bytes. Optional.
 */
struct rk_dma_heap_ops {
	struct dma_buf *(*allocate)(struct rk_dma_heap *heap, unsigned long len,
				    unsigned long fd_flags, unsigned long heap_flags,
				    const char *name);
	struct page *(*alloc_contig_pages)(struct rk_dma_heap *heap, size_t len, const char *name);
	void (*free_contig_pages)(struct rk_dma_heap *heap, struct page *pages, size_t len,
				  const char *name);
	long (*get_pool_size)(struct rk_dma_heap *heap);
};

/**
 * struct rk_dma_heap_export_info - description of a driver's own heap
 * @name: name of the device node in /dev/rk_dma_heap
 * @ops: operations of the heap, valid until its last reference is put
 * @priv: driver data, for rk_dma_heap_get_drvdata()
 * @support_cma: whether the heap allocates contiguous pages
 */
struct rk_dma_heap_export_info {
	const char *name;
	const struct rk_dma_heap_ops *ops;
	void *priv;
	bool support_cma;
};

/**
 * rk_dma_heap_find() - look up a heap
 * @name: name of the Rockchip heap or of a driver's heap
 *
 * Return: the heap, with a reference that rk_dma_heap_put() drops, or NULL.
 */
struct rk_dma_heap *rk_dma_heap_find(const char *name);

/**
 * rk_dma_heap_put() - drop a reference to a heap
 * @heap: heap from rk_dma_heap_find() or rk_dma_heap_add()
 *
 * A driver's own heap is removed with its last reference.
 */
void rk_dma_heap_put(struct rk_dma_heap *heap);

/**
 * rk_dma_heap_set_dev() - prepare a device for mapping buffers
 * @heap_dev: device that is not used for DMA during the call
 *
 * Sets a 64-bit DMA mask and the largest segment size.
 *
 * Return: 0, -EINVAL if @heap_dev is NULL, or another negative error number.
 */
int rk_dma_heap_set_dev(struct device *heap_dev);

/**
 * rk_dma_heap_buffer_alloc() - allocate a dma-buf
 * @heap: heap to allocate from
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: access mode of the dma-buf's file
 * @heap_flags: 0
 * @name: name of the dma-buf, or NULL for the name of the calling thread
 *
 * Return: the dma-buf, with a reference that rk_dma_heap_buffer_free() drops, or an ERR_PTR().
 */
struct dma_buf *rk_dma_heap_buffer_alloc(struct rk_dma_heap *heap, size_t len,
					 unsigned int fd_flags, unsigned int heap_flags,
					 const char *name);

/**
 * rk_dma_heap_buffer_free() - drop the reference of rk_dma_heap_buffer_alloc()
 * @dmabuf: return value of rk_dma_heap_buffer_alloc()
 */
void rk_dma_heap_buffer_free(struct dma_buf *dmabuf);

/**
 * rk_dma_heap_bufferfd_alloc() - allocate a dma-buf for the calling process
 * @heap: heap to allocate from
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: flags of the file descriptor
 * @heap_flags: 0
 * @name: name of the dma-buf, or NULL for the name of the calling thread
 *
 * Return: a file descriptor of the calling process, or a negative error number.
 */
int rk_dma_heap_bufferfd_alloc(struct rk_dma_heap *heap, size_t len, unsigned int fd_flags,
			       unsigned int heap_flags, const char *name);

/**
 * rk_dma_heap_alloc_contig_pages() - allocate contiguous, zeroed pages
 * @heap: heap to allocate from
 * @len: size in bytes, rounded up to whole pages
 * @name: name of the owner, or NULL for the name of the calling thread
 *
 * Return: the first page, or an ERR_PTR().
 */
struct page *rk_dma_heap_alloc_contig_pages(struct rk_dma_heap *heap, size_t len, const char *name);

/**
 * rk_dma_heap_free_contig_pages() - free the pages of rk_dma_heap_alloc_contig_pages()
 * @heap: heap that the pages were allocated from
 * @pages: first page
 * @len: size that was passed to rk_dma_heap_alloc_contig_pages()
 * @name: ignored by the Rockchip heap
 *
 * Warns and does nothing if the heap has not allocated such pages.
 *
 * The driver must drop its references to the pages, and remove its mappings of them, before. If
 * somebody still holds a reference to one of them when they are about to be used again, none of
 * them is used before the next boot, with one warning. A mapping without a reference, as by
 * remap_pfn_range() or vmap(), remains unnoticed.
 */
void rk_dma_heap_free_contig_pages(struct rk_dma_heap *heap, struct page *pages, size_t len,
				   const char *name);

/**
 * rk_dma_heap_add() - register a driver's own heap
 * @exp_info: description of the heap
 *
 * Return: the heap, with a reference that rk_dma_heap_put() drops. ERR_PTR(-EEXIST) if another heap
 * has its name, ERR_PTR(-EINVAL) if a mandatory field is missing, or another ERR_PTR().
 */
struct rk_dma_heap *rk_dma_heap_add(const struct rk_dma_heap_export_info *exp_info);

/**
 * rk_dma_heap_get_drvdata() - get the driver data of a heap
 * @heap: heap that the caller holds a reference to
 *
 * Does not sleep.
 *
 * Return: the priv field of the heap's description, or NULL for the Rockchip heap.
 */
void *rk_dma_heap_get_drvdata(struct rk_dma_heap *heap);

/**
 * rk_dma_heap_get_dev() - get a device that reaches all memory
 * @heap: ignored
 *
 * May sleep.
 *
 * Where all DMA goes through bounce buffers (swiotlb=force, confidential guests), a mapping for
 * this device is one. To maintain the caches over the memory itself, pass its physical address to
 * dma_sync_single_for_device() and dma_sync_single_for_cpu().
 *
 * Return: a device for DMA mappings of the heap's memory.
 */
struct device *rk_dma_heap_get_dev(struct rk_dma_heap *heap);

/**
 * rk_dma_heap_get_name() - get the name of a heap
 * @heap: heap that the caller holds a reference to
 *
 * Does not sleep.
 *
 * Return: the name, which is valid until the caller drops its reference.
 */
const char *rk_dma_heap_get_name(struct rk_dma_heap *heap);

/**
 * rk_dma_heap_get_cma() - get the area of the Rockchip heap
 *
 * Return: the area that the Rockchip heap allocates from, or NULL.
 */
struct cma *rk_dma_heap_get_cma(void);

/**
 * rk_vmap_contig_pfn() - map contiguous page frames
 * @pfn: first page frame
 * @count: number of page frames
 * @prot: protection of the mapping
 *
 * Return: the address of the mapping, which vunmap() removes, or NULL.
 */
void *rk_vmap_contig_pfn(unsigned long pfn, unsigned int count, pgprot_t prot);

/*
 * The functions of Android's kernels, for the module's heaps of /dev/dma_heap. A driver may look
 * them up with symbol_get().
 */
struct dma_heap;

struct dma_heap *dma_heap_find(const char *name);
void dma_heap_put(struct dma_heap *heap);
struct dma_buf *dma_heap_buffer_alloc(struct dma_heap *heap, size_t len, unsigned int fd_flags,
				      unsigned int heap_flags);
void dma_heap_buffer_free(struct dma_buf *dmabuf);
int dma_heap_bufferfd_alloc(struct dma_heap *heap, size_t len, unsigned int fd_flags,
			    unsigned int heap_flags);

#endif
