// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for a vendor's kernel: it declares the functions as that kernel does, looks heaps up
 * under its own lock, accesses its buffers by physical addresses, and never puts a heap. Loading it
 * fails if one of its steps does. Writing to its parameter `allocate` allocates from the heap named
 * by `heap`, which another driver may have removed.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

struct dma_heap;
struct rk_dma_heap;

struct dma_heap *dma_heap_find(const char *name);
struct dma_buf *dma_heap_buffer_alloc(struct dma_heap *heap, size_t len, unsigned int fd_flags,
				      unsigned int heap_flags);
void dma_heap_buffer_free(struct dma_buf *dmabuf);

struct rk_dma_heap *rk_dma_heap_find(const char *name);
struct dma_buf *rk_dma_heap_buffer_alloc(struct rk_dma_heap *heap, size_t len,
					 unsigned int fd_flags, unsigned int heap_flags,
					 const char *name);
void rk_dma_heap_buffer_free(struct dma_buf *dmabuf);
struct page *rk_dma_heap_alloc_contig_pages(struct rk_dma_heap *heap, size_t len, const char *name);
void rk_dma_heap_free_contig_pages(struct rk_dma_heap *heap, struct page *pages, size_t len,
				   const char *name);
struct device *rk_dma_heap_get_dev(struct rk_dma_heap *heap);

#define NAME   "vendor-driver"
#define ROUNDS 16

static char *heap;
module_param(heap, charp, 0444);
MODULE_PARM_DESC(heap, "Name of another driver's heap");

static DEFINE_SPINLOCK(lock);
static struct platform_device *device;
static struct dma_heap *android_heap;
static struct rk_dma_heap *rockchip_heap;
static struct rk_dma_heap *foreign_heap;

static int allocate_set(const char *value, const struct kernel_param *parameter)
{
	struct dma_buf *buffer;

	if (!foreign_heap)
		return -ENXIO;
	buffer = rk_dma_heap_buffer_alloc(foreign_heap, PAGE_SIZE, O_RDWR, 0, NAME);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	rk_dma_heap_buffer_free(buffer);
	return 0;
}

static const struct kernel_param_ops allocate_ops = { .set = allocate_set };
module_param_cb(allocate, &allocate_ops, NULL, 0200);
MODULE_PARM_DESC(allocate, "Write anything to allocate from the other driver's heap");

static int find_heaps(void)
{
	struct device *ours, *foreign = NULL;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	android_heap = dma_heap_find("rk-dma-heap-cma");
	rockchip_heap = rk_dma_heap_find("rk-dma-heap-cma");
	if (heap)
		foreign_heap = rk_dma_heap_find(heap);
	ours = rk_dma_heap_get_dev(rockchip_heap);
	if (foreign_heap)
		foreign = rk_dma_heap_get_dev(foreign_heap);
	spin_unlock_irqrestore(&lock, flags);
	if (!android_heap || !rockchip_heap || (heap && !foreign_heap))
		return -ENXIO;
	/* Each heap has a device of its own. */
	return ours && ours != foreign ? 0 : -EXDEV;
}

/* Takes the physical address of a buffer, then syncs it while no device is attached. */
static int use_buffer(struct dma_buf *buffer)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	int ret;

	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	attachment = dma_buf_attach(buffer, &device->dev);
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	table = dma_buf_map_attachment_unlocked(attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(table)) {
		dma_buf_detach(buffer, attachment);
		return PTR_ERR(table);
	}
	ret = sg_phys(table->sgl) && sg_dma_address(table->sgl) ? 0 : -EFAULT;
	dma_buf_unmap_attachment_unlocked(attachment, table, DMA_BIDIRECTIONAL);
	dma_buf_detach(buffer, attachment);
	return ret ?: dma_buf_begin_cpu_access(buffer, DMA_FROM_DEVICE) ?:
		      dma_buf_end_cpu_access(buffer, DMA_TO_DEVICE);
}

static int use_pages(void)
{
	struct device *dev = rk_dma_heap_get_dev(rockchip_heap);
	struct page *pages = rk_dma_heap_alloc_contig_pages(rockchip_heap, SZ_64K, NAME);
	dma_addr_t address;
	int ret;

	if (IS_ERR_OR_NULL(pages))
		return pages ? PTR_ERR(pages) : -ENOMEM;
	address = dma_map_page(dev, pages, 0, SZ_64K, DMA_BIDIRECTIONAL);
	ret = dma_mapping_error(dev, address);
	if (!ret) {
		dma_sync_single_for_cpu(dev, address, SZ_64K, DMA_BIDIRECTIONAL);
		dma_sync_single_for_device(dev, address, SZ_64K, DMA_BIDIRECTIONAL);
		dma_unmap_page(dev, address, SZ_64K, DMA_BIDIRECTIONAL);
	}
	rk_dma_heap_free_contig_pages(rockchip_heap, pages, SZ_64K, NAME);
	return ret;
}

static int use_heaps(void)
{
	struct dma_buf *buffer;
	int ret;

	buffer = dma_heap_buffer_alloc(android_heap, SZ_64K, O_CLOEXEC | O_RDWR, 0);
	ret = use_buffer(buffer);
	if (!IS_ERR(buffer))
		dma_heap_buffer_free(buffer);
	if (ret)
		return ret;
	buffer = rk_dma_heap_buffer_alloc(rockchip_heap, SZ_64K, O_CLOEXEC | O_RDWR, 0, NAME);
	ret = use_buffer(buffer);
	if (!IS_ERR(buffer))
		rk_dma_heap_buffer_free(buffer);
	return ret ?: use_pages();
}

static int __init vendor_init(void)
{
	unsigned int round;
	int ret;

	device = platform_device_register_simple("rk-vendor-driver", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	ret = dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));
	for (round = 0; round < ROUNDS && !ret; round++)
		ret = find_heaps() ?: use_heaps();
	if (!ret)
		return 0;
	pr_err("rk_vendor_driver: round %u failed: %d\n", round, ret);
	platform_device_unregister(device);
	return ret;
}

static void __exit vendor_exit(void)
{
	platform_device_unregister(device);
}

module_init(vendor_init);
module_exit(vendor_exit);
MODULE_AUTHOR("The rk_dma_heap authors");
MODULE_DESCRIPTION("Uses heaps like a driver for a vendor's kernel, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
