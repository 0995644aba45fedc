// SPDX-License-Identifier: GPL-2.0
/*
 * The driver's own heap. It forwards all calls to the Rockchip heap and counts them.
 */

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>

#include "allocator.h"

struct own_heap {
	struct rk_dma_heap *source;
	atomic_t buffers;
	atomic_t arrays;
	atomic_t returned;
	/* Calls of the operation that allocates buffers. */
	atomic_t running;
	unsigned int delay_ms;
	long pool_bytes;
};

static DEFINE_MUTEX(lock);
static struct own_heap own;
static struct rk_dma_heap *registered;

static struct dma_buf *own_allocate(struct rk_dma_heap *heap, unsigned long length,
				    unsigned long fd_flags, unsigned long heap_flags,
				    const char *name)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);
	struct dma_buf *buffer;

	/* The heap is known to the core before an operation begins, and until it has ended. */
	if (!this)
		return ERR_PTR(-ESTALE);
	atomic_inc(&this->running);
	atomic_inc(&this->buffers);
	msleep(this->delay_ms);
	if (rk_dma_heap_get_drvdata(heap) == this)
		buffer = rk_dma_heap_buffer_alloc(this->source, length, fd_flags, heap_flags, name);
	else
		buffer = ERR_PTR(-ESTALE);
	atomic_dec(&this->running);
	return buffer;
}

static struct page *own_allocate_pages(struct rk_dma_heap *heap, size_t length, const char *name)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);

	atomic_inc(&this->arrays);
	return rk_dma_heap_alloc_contig_pages(this->source, length, name);
}

static void own_free_pages(struct rk_dma_heap *heap, struct page *pages, size_t length,
			   const char *name)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);

	atomic_inc(&this->returned);
	rk_dma_heap_free_contig_pages(this->source, pages, length, name);
}

static int own_allocate_singles(struct rk_dma_heap *heap, struct page **pages, size_t length,
				gfp_t flags, const char *name)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);

	atomic_inc(&this->arrays);
	return rk_dma_heap_alloc_pages(rk_dma_heap_find("rk-system-heap"), pages, length, flags,
				       name);
}

static void own_free_singles(struct rk_dma_heap *heap, struct page **pages, unsigned int count)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);

	atomic_inc(&this->returned);
	rk_dma_heap_free_pages(rk_dma_heap_find("rk-system-heap"), pages, count);
}

static long own_pool_size(struct rk_dma_heap *heap)
{
	struct own_heap *this = rk_dma_heap_get_drvdata(heap);

	return this->pool_bytes;
}

static const struct rk_dma_heap_ops contiguous_ops = {
	.allocate = own_allocate,
	.alloc_contig_pages = own_allocate_pages,
	.free_contig_pages = own_free_pages,
	.alloc_pages = own_allocate_singles,
	.free_pages = own_free_singles,
	.get_pool_size = own_pool_size,
};

static const struct rk_dma_heap_ops plain_ops = {
	.allocate = own_allocate,
};

/* Lacks the operation that every heap needs. plain_ops lacks those of a contiguous one. */
static const struct rk_dma_heap_ops no_allocate_ops = {
	.alloc_contig_pages = own_allocate_pages,
	.free_contig_pages = own_free_pages,
};

static const struct rk_dma_heap_ops *ops_of(struct rk_allocator_heap *description)
{
	if (description->incomplete)
		return description->contiguous ? &plain_ops : &no_allocate_ops;
	return description->contiguous ? &contiguous_ops : &plain_ops;
}

static int add(struct rk_allocator_heap *description)
{
	struct rk_dma_heap_export_info info = {
		.name = description->name,
		.ops = ops_of(description),
		.priv = &own,
		.support_cma = description->contiguous,
		.permit_noalloc = description->permit_noalloc,
	};

	if (registered)
		return -EBUSY;
	own.source = rk_dma_heap_find("rk-dma-heap-cma");
	if (!own.source)
		return -ENXIO;
	atomic_set(&own.buffers, 0);
	atomic_set(&own.arrays, 0);
	atomic_set(&own.returned, 0);
	atomic_set(&own.running, 0);
	own.delay_ms = description->delay_ms;
	own.pool_bytes = description->pool_bytes;
	registered = rk_dma_heap_add(&info);
	if (!IS_ERR(registered)) {
		/* More than was counted leaves nothing. */
		rk_dma_heap_total_inc(registered, PAGE_SIZE);
		rk_dma_heap_total_dec(registered, 2 * PAGE_SIZE);
		rk_dma_heap_total_inc(registered, description->handed_out);
		return 0;
	}
	rk_dma_heap_put(own.source);
	return PTR_ERR(registered);
}

int own_heap_add(struct rk_allocator_heap *description)
{
	int ret;

	mutex_lock(&lock);
	ret = add(description);
	if (ret && ret != -EBUSY)
		registered = NULL;
	mutex_unlock(&lock);
	return ret;
}

int own_heap_remove(void)
{
	int ret = -ENOENT;

	mutex_lock(&lock);
	if (registered) {
		rk_dma_heap_put(registered);
		ret = atomic_read(&own.running) ? -EBUSY : 0;
		rk_dma_heap_put(own.source);
		registered = NULL;
	}
	mutex_unlock(&lock);
	return ret;
}

int own_heap_pass(const char *name)
{
	struct rk_dma_heap_export_info info = {
		.name = name,
		.ops = &plain_ops,
		.priv = &own,
	};
	struct rk_dma_heap *heap = rk_dma_heap_add(&info);

	if (IS_ERR(heap))
		return PTR_ERR(heap);
	rk_dma_heap_put(heap);
	return 0;
}

int own_heap_forget(void)
{
	int ret;

	mutex_lock(&lock);
	ret = registered ? 0 : -ENOENT;
	registered = NULL;
	mutex_unlock(&lock);
	return ret;
}

static void describe_device(struct rk_allocator_description *description)
{
	struct platform_device_info info = { .name = "rk-allocator-device" };
	struct platform_device *device = platform_device_register_full(&info);

	description->set_no_device = rk_dma_heap_set_dev(NULL);
	if (IS_ERR(device)) {
		description->set_device = PTR_ERR(device);
		return;
	}
	description->set_device = rk_dma_heap_set_dev(&device->dev);
	description->set_bits = fls64(dma_get_mask(&device->dev));
	description->set_segment_size = dma_get_max_seg_size(&device->dev);
	platform_device_unregister(device);
}

int own_heap_describe(struct rk_allocator_description *description)
{
	struct rk_dma_heap *heap = rk_dma_heap_find(description->heap);
	struct device *device;

	if (!heap)
		return -ENXIO;
	strscpy(description->name, rk_dma_heap_get_name(heap));
	description->own_data = rk_dma_heap_get_drvdata(heap) == &own;
	description->no_data = !rk_dma_heap_get_drvdata(heap);
	device = rk_dma_heap_get_dev(heap);
	description->device_bits = device ? fls64(dma_get_mask(device)) : 0;
	description->has_area = !!rk_dma_heap_get_cma();
	describe_device(description);
	description->buffers = atomic_read(&own.buffers);
	description->arrays = atomic_read(&own.arrays);
	description->returned = atomic_read(&own.returned);
	rk_dma_heap_put(heap);
	return 0;
}
