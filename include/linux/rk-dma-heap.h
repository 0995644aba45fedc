/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the rk_dma_heap module offers to other drivers. All functions may sleep unless they say otherwise, and all are
 * exported for GPL-compatible modules only.
 *
 * The header declares everything whether or not the module is there: a driver that uses it depends on the module. One that
 * can do without looks the functions up with symbol_get().
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
 * struct rk_dma_heap_ops - what a driver's own heap does
 * @allocate: a new dma-buf or ERR_PTR(). @len is a whole number of pages, the flags are valid; @name may be NULL
 * @alloc_contig_pages: the first of @len bytes of contiguous pages or ERR_PTR(); only for heaps with support_cma
 * @free_contig_pages: takes back what @alloc_contig_pages gave
 * @get_pool_size: bytes that the heap keeps in pools; optional
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
 * struct rk_dma_heap_export_info - a driver's own heap
 * @name: name of the node under /dev/rk_dma_heap
 * @ops: what the heap does; must stay until the heap is put
 * @priv: for rk_dma_heap_get_drvdata()
 * @support_cma: whether the heap hands out contiguous pages
 */
struct rk_dma_heap_export_info {
	const char *name;
	const struct rk_dma_heap_ops *ops;
	void *priv;
	bool support_cma;
};

/* The Rockchip heap or a driver's heap of this name, with a reference; NULL where there is none. */
struct rk_dma_heap *rk_dma_heap_find(const char *name);

/* Gives a reference back. A driver's own heap goes with the last one. */
void rk_dma_heap_put(struct rk_dma_heap *heap);

/* Gives a device a 64-bit DMA mask and the largest segment size. -EINVAL for NULL. */
int rk_dma_heap_set_dev(struct device *heap_dev);

/* A new dma-buf of at least len bytes, or ERR_PTR(). Without a name it gets the calling thread's. */
struct dma_buf *rk_dma_heap_buffer_alloc(struct rk_dma_heap *heap, size_t len,
					 unsigned int fd_flags, unsigned int heap_flags,
					 const char *name);

/* Drops the reference that rk_dma_heap_buffer_alloc() gave. */
void rk_dma_heap_buffer_free(struct dma_buf *dmabuf);

/* As rk_dma_heap_buffer_alloc(), as a file descriptor of the calling process or -errno. */
int rk_dma_heap_bufferfd_alloc(struct rk_dma_heap *heap, size_t len, unsigned int fd_flags,
			       unsigned int heap_flags, const char *name);

/* The first of at least len bytes of contiguous, zeroed pages, or ERR_PTR(). */
struct page *rk_dma_heap_alloc_contig_pages(struct rk_dma_heap *heap, size_t len, const char *name);

/* Takes them back. What was not allocated so, or not with this length, is refused with a warning. */
void rk_dma_heap_free_contig_pages(struct rk_dma_heap *heap, struct page *pages, size_t len,
				   const char *name);

/* Registers a driver's own heap, with one reference; ERR_PTR() where the name is taken or something is missing. */
struct rk_dma_heap *rk_dma_heap_add(const struct rk_dma_heap_export_info *exp_info);

/* What the heap was added with; NULL for the Rockchip heap. Does not sleep. */
void *rk_dma_heap_get_drvdata(struct rk_dma_heap *heap);

/* A device that reaches all memory, for DMA mappings of the heap's memory. Does not sleep. */
struct device *rk_dma_heap_get_dev(struct rk_dma_heap *heap);

/* The heap's name, which lives as long as the reference. Does not sleep. */
const char *rk_dma_heap_get_name(struct rk_dma_heap *heap);

/* The area that the Rockchip heap takes its memory from; NULL where there is none. */
struct cma *rk_dma_heap_get_cma(void);

/* Maps count page frames from pfn on, with protection prot; vunmap() undoes it. NULL where that fails. */
void *rk_vmap_contig_pfn(unsigned long pfn, unsigned int count, pgprot_t prot);

/*
 * The names of Android's kernels, over all heaps of the module. A driver may look them up with symbol_get().
 */
struct dma_heap;

struct dma_heap *dma_heap_find(const char *name);
void dma_heap_put(struct dma_heap *heap);
struct dma_buf *dma_heap_buffer_alloc(struct dma_heap *heap, size_t len, u32 fd_flags,
				      u64 heap_flags);
void dma_heap_buffer_free(struct dma_buf *dmabuf);
int dma_heap_bufferfd_alloc(struct dma_heap *heap, size_t len, u32 fd_flags, u64 heap_flags);

#endif
