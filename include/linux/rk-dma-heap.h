/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interface of the rk_dma_heap module for other drivers.
 *
 * All functions are exported for GPL-compatible modules only. They may sleep unless stated
 * otherwise. Those that do not sleep may be called with any lock held, but not by an NMI. With
 * CONFIG_PREEMPT_RT they acquire a lock that sleeps, and are called where a spinlock_t may be.
 *
 * The declarations do not depend on the kernel's configuration. A driver that calls the functions
 * depends on the module, which stays loaded as long as the driver. A driver for which the module is
 * optional looks them up with symbol_get(), and calls symbol_put() when it needs neither them nor
 * what it has allocated any more.
 *
 * The Rockchip heap is rk-dma-heap-cma.
 *
 * A reference to a heap does not keep the module loaded. A driver may leave its references when it
 * is unloaded. The first put without a reference is warned of; all such puts are ignored.
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

/* Heap flag: the CPU maps the buffer write-combined. */
#ifndef RK_DMA_HEAP_UNCACHED
#define RK_DMA_HEAP_UNCACHED (1 << 0)
#endif

/**
 * struct rk_dma_heap_ops - operations of a driver's own heap
 * @allocate: Allocates a dma-buf of @len bytes, a multiple of PAGE_SIZE. The flags are valid.
 *	@name may be NULL. Returns the dma-buf or an ERR_PTR(). Mandatory unless permit_noalloc is
 *	set.
 * @alloc_contig_pages: Allocates @len bytes of contiguous pages. Mandatory if support_cma is set.
 *	Returns the first page or an ERR_PTR().
 * @free_contig_pages: Frees pages that @alloc_contig_pages has allocated. Mandatory if support_cma
 *	is set.
 * @alloc_pages: Allocates @len >> PAGE_SHIFT single pages into the array @pages. Returns 0 or a
 *	negative error number. Optional.
 * @free_pages: Frees @count pages of @alloc_pages. Optional.
 * @get_pool_size: Returns the size of the heap's pools in bytes, which count in
 *	/sys/kernel/rk_dma_heap/rk_total_pools_kb. Optional.
 *
 * The operations are called with the pointer of rk_dma_heap_add(). They must not put it.
 */
struct rk_dma_heap_ops {
	struct dma_buf *(*allocate)(struct rk_dma_heap *heap, unsigned long len,
				    unsigned long fd_flags, unsigned long heap_flags,
				    const char *name);
	struct page *(*alloc_contig_pages)(struct rk_dma_heap *heap, size_t len, const char *name);
	void (*free_contig_pages)(struct rk_dma_heap *heap, struct page *pages, size_t len,
				  const char *name);
	int (*alloc_pages)(struct rk_dma_heap *heap, struct page **pages, size_t len, gfp_t flags,
			   const char *name);
	void (*free_pages)(struct rk_dma_heap *heap, struct page **pages, unsigned int count);
	long (*get_pool_size)(struct rk_dma_heap *heap);
};

/**
 * struct rk_dma_heap_export_info - description of a driver's own heap
 * @name: name of the device node in /dev/rk_dma_heap
 * @ops: operations of the heap, which are copied
 * @priv: driver data, for rk_dma_heap_get_drvdata()
 * @support_cma: whether the heap allocates contiguous pages
 * @permit_noalloc: whether the heap may lack the operation to allocate buffers
 */
struct rk_dma_heap_export_info {
	const char *name;
	const struct rk_dma_heap_ops *ops;
	void *priv;
	bool support_cma;
	bool permit_noalloc;
};

/**
 * rk_dma_heap_find() - look up a heap
 * @name: "rk-dma-heap-cma", "rk-system-heap" for single pages, or name of a driver's heap
 *
 * Does not sleep. The work is bounded: at most 256 names are compared, with interrupts disabled.
 *
 * Return: the heap, with a reference that rk_dma_heap_put() drops, or NULL. It stays valid after
 * the heap's driver has gone; functions that allocate return -ENODEV then.
 */
struct rk_dma_heap *rk_dma_heap_find(const char *name);

/**
 * rk_dma_heap_put() - drop a reference to a heap
 * @heap: heap from rk_dma_heap_find() or rk_dma_heap_add(), or NULL
 *
 * Does not sleep for a heap from rk_dma_heap_find().
 *
 * With the reference of rk_dma_heap_add() a driver's own heap is removed, whoever else has found it
 * or opened its device node: they get -ENODEV. When the function returns, none of the heap's
 * operations is being called, and none is called any more. The same happens to a heap that its
 * driver has not put when the driver has been unloaded. While the driver's exit function is
 * running, nothing is allocated from the heap, unless the kernel has no kprobes.
 */
void rk_dma_heap_put(struct rk_dma_heap *heap);

/**
 * rk_dma_heap_set_dev() - prepare a device for mapping buffers
 * @heap_dev: device that is not used for DMA during the call
 *
 * Sets a 64-bit DMA mask and the largest segment size. They last as long as the device, also when
 * its driver is unbound. The devices of heaps have them already.
 *
 * Return: 0, -EINVAL if @heap_dev is NULL, or another negative error number.
 */
int rk_dma_heap_set_dev(struct device *heap_dev);

/**
 * rk_dma_heap_buffer_alloc() - allocate a dma-buf
 * @heap: heap to allocate from
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: O_CLOEXEC and access mode of the dma-buf's file
 * @heap_flags: 0 or RK_DMA_HEAP_UNCACHED
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
 *
 * The memory is freed with the last reference, whoever has it.
 */
void rk_dma_heap_buffer_free(struct dma_buf *dmabuf);

/**
 * rk_dma_heap_bufferfd_alloc() - allocate a dma-buf for the calling process
 * @heap: heap to allocate from
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: O_CLOEXEC and access mode of the dma-buf's file
 * @heap_flags: 0 or RK_DMA_HEAP_UNCACHED
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
 * rk_dma_heap_alloc_pages() - allocate single, zeroed pages
 * @heap: rk-system-heap, or a driver's heap with such pages
 * @pages: array of @len >> PAGE_SHIFT pointers, to which the pages are written
 * @len: size in bytes, at least one page
 * @flags: flags for the page allocator
 * @name: name of the owner, or NULL
 *
 * Does not sleep if @heap is rk-system-heap and @flags permit no direct reclaim. rk-system-heap
 * fails instead of triggering the OOM killer, and has the size limit of the system heaps.
 *
 * Return: 0, -EINVAL if the heap has no such pages, or another negative error number.
 */
int rk_dma_heap_alloc_pages(struct rk_dma_heap *heap, struct page **pages, size_t len, gfp_t flags,
			    const char *name);

/**
 * rk_dma_heap_free_pages() - free the pages of rk_dma_heap_alloc_pages()
 * @heap: heap that the pages were allocated from
 * @pages: array of @count pointers, to which NULL is written; NULL is ignored
 * @count: number of pointers
 *
 * Does not sleep if @heap is rk-system-heap.
 */
void rk_dma_heap_free_pages(struct rk_dma_heap *heap, struct page **pages, unsigned int count);

/**
 * rk_dma_heap_add() - register a driver's own heap
 * @exp_info: description of the heap
 *
 * Return: the heap, with a reference that rk_dma_heap_put() drops. It is another pointer than that
 * of rk_dma_heap_find(). ERR_PTR(-EINVAL) if another heap has its name or a mandatory field is
 * missing, ERR_PTR(-ENOSPC) if there are too many heaps, or another ERR_PTR().
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
 * rk_dma_heap_get_dev() - get the device of a heap
 * @heap: heap that the caller holds a reference to
 *
 * Does not sleep. The device has a 64-bit DMA mask and the largest segment size. It is not that of
 * the heap's node. It is valid until the caller drops its reference.
 *
 * Where all DMA goes through bounce buffers (swiotlb=force, confidential guests), a mapping for
 * this device is a bounce buffer. To maintain the caches over the memory itself, pass its physical
 * address to dma_sync_single_for_device() and dma_sync_single_for_cpu().
 *
 * Return: a device for DMA mappings of the heap's memory, or NULL if there is no such heap.
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
 * Does not sleep.
 *
 * Return: the area that the Rockchip heap allocates from, or NULL.
 */
struct cma *rk_dma_heap_get_cma(void);

/**
 * rk_dma_heap_total_inc() - count what a driver's heap has handed out
 * @heap: heap that the caller holds a reference to
 * @len: size in bytes
 *
 * Does not sleep. The size is part of the total in /proc/rk_dma_heap/rk-dma-heap-info.
 */
void rk_dma_heap_total_inc(struct rk_dma_heap *heap, size_t len);

/**
 * rk_dma_heap_total_dec() - uncount what a driver's heap has got back
 * @heap: heap that the caller holds a reference to
 * @len: size in bytes that was passed to rk_dma_heap_total_inc()
 *
 * Does not sleep.
 */
void rk_dma_heap_total_dec(struct rk_dma_heap *heap, size_t len);

/**
 * rk_dma_heap_cma_setup() - set up the area of the Rockchip heap
 *
 * Does not sleep. An area can be set up in early boot only, before modules are loaded.
 *
 * Return: -ENODEV.
 */
int rk_dma_heap_cma_setup(void);

/**
 * rk_vmap_contig_pfn() - map contiguous page frames
 * @pfn: first page frame
 * @count: number of page frames
 * @prot: protection of the mapping
 *
 * Either all page frames have a struct page, or none has.
 *
 * Return: the address of the mapping, which vunmap() removes, or NULL.
 */
void *rk_vmap_contig_pfn(unsigned long pfn, unsigned int count, pgprot_t prot);

/*
 * The functions of Android's kernels, for the module's heaps of /dev/dma_heap. A driver may look
 * them up with symbol_get(). dma_heap_find() and dma_heap_put() do not sleep. heap_flags has 32
 * bits, as in Rockchip's kernels; in Android's own it has 64. On 32-bit arm the two are passed in
 * different registers, so compile a driver with this header. No flag exists, so nothing is lost.
 *
 * The module leaves out those that the kernel exports itself. A driver for such a kernel defines
 * RK_KERNEL_HAS_NAME for each of them, if the kernel's declaration is another one.
 */
struct dma_heap;

#ifndef RK_KERNEL_HAS_dma_heap_find
/**
 * dma_heap_find() - look up a heap of /dev/dma_heap
 * @name: name of its node
 *
 * Does not sleep.
 *
 * Return: the heap, with a reference that dma_heap_put() drops, or NULL. It is no pointer for the
 * functions rk_dma_heap_...().
 */
struct dma_heap *dma_heap_find(const char *name);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_put
/**
 * dma_heap_put() - drop a reference of dma_heap_find()
 * @heap: heap, or NULL
 *
 * Does not sleep. Buffers of the heap stay valid.
 */
void dma_heap_put(struct dma_heap *heap);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_buffer_alloc
/**
 * dma_heap_buffer_alloc() - allocate a dma-buf from a heap of /dev/dma_heap
 * @heap: heap that the caller holds a reference to
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: O_CLOEXEC and access mode of the dma-buf's file
 * @heap_flags: 0
 *
 * Return: the dma-buf, with a reference that dma_heap_buffer_free() drops, ERR_PTR(-EINVAL) for a
 * size of 0 or unknown flags, ERR_PTR(-ENOMEM), or another ERR_PTR().
 */
struct dma_buf *dma_heap_buffer_alloc(struct dma_heap *heap, size_t len, unsigned int fd_flags,
				      unsigned int heap_flags);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_buffer_free
/**
 * dma_heap_buffer_free() - drop the reference of dma_heap_buffer_alloc()
 * @dmabuf: return value of dma_heap_buffer_alloc()
 *
 * The memory is freed with the last reference, whoever has it.
 */
void dma_heap_buffer_free(struct dma_buf *dmabuf);
#endif
#ifndef RK_KERNEL_HAS_dma_heap_bufferfd_alloc
/**
 * dma_heap_bufferfd_alloc() - allocate a dma-buf for the calling process
 * @heap: heap that the caller holds a reference to
 * @len: size in bytes, rounded up to whole pages
 * @fd_flags: O_CLOEXEC and access mode of the dma-buf's file
 * @heap_flags: 0
 *
 * Return: a file descriptor of the calling process, or a negative error number: those of
 * dma_heap_buffer_alloc(), and -EMFILE.
 */
int dma_heap_bufferfd_alloc(struct dma_heap *heap, size_t len, unsigned int fd_flags,
			    unsigned int heap_flags);
#endif

#endif
