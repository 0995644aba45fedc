// SPDX-License-Identifier: GPL-2.0
/*
 * A complete driver that uses the rk_dma_heap module, to start from.
 *
 * Its device is one that does not exist: it would copy memory. The driver has a ring of descriptors
 * (contiguous pages), from which the device would read its work, and a frame (a dma-buf), from
 * which it would copy. A program opens /dev/rk-dma-heap-example, lets the driver allocate a
 * dma-buf, maps it, and has the frame copied into it. The places where a driver would access its
 * hardware are marked by "hardware"; the CPU does the copying.
 *
 * docs/drivers.md explains each step.
 */

#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <linux/rk-dma-heap.h>

#include "rk_dma_heap_example.h"

/* There is one device. A driver of several gives each node a name of its own. */
#define NAME	   "rk-dma-heap-example"
#define FRAME_SIZE SZ_1M
#define RING_SIZE  SZ_64K

static char *heap = "rk-dma-heap-cma";
module_param(heap, charp, 0444);
MODULE_PARM_DESC(heap, "Name of the heap to allocate from (default rk-dma-heap-cma)");

/* One piece of work for the hardware: @length bytes from @source to @target. */
struct example_descriptor {
	__le64 source;
	__le64 target;
	__le32 length;
	__le32 reserved;
};

#define RING_ENTRIES (RING_SIZE / sizeof(struct example_descriptor))

struct example {
	struct device *dev;
	struct miscdevice misc;
	struct dentry *debugfs;
	struct rk_dma_heap *heap;

	/* The ring: the pages, where the CPU sees them, and where the device does. */
	struct page *ring_pages;
	struct example_descriptor *ring;
	dma_addr_t ring_address;

	/* The frame: the dma-buf, and its mapping for the device. */
	struct dma_buf *frame;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;

	/* Protects the ring's contents and what follows: there is one job at a time. */
	struct mutex lock;
	unsigned int jobs;
	unsigned int descriptors;
	u64 bytes;
	dma_addr_t target;
};

/*
 * The ring. Contiguous pages are plain memory without an exporter: the driver maps them itself, for
 * the CPU and for its device, and passes them from one to the other itself.
 */

static int example_ring_init(struct example *this)
{
	const unsigned int count = RING_SIZE >> PAGE_SHIFT;
	int ret;

	this->ring_pages =
		rk_dma_heap_alloc_contig_pages(this->heap, RING_SIZE, dev_name(this->dev));
	if (IS_ERR(this->ring_pages))
		return PTR_ERR(this->ring_pages);

	/* The pages may be high memory, which has no address of its own. */
	this->ring = rk_vmap_contig_pfn(page_to_pfn(this->ring_pages), count, PAGE_KERNEL);
	if (!this->ring) {
		ret = -ENOMEM;
		goto no_mapping;
	}
	/* From here on the ring belongs to the device, until it is synced for the CPU. */
	this->ring_address =
		dma_map_page(this->dev, this->ring_pages, 0, RING_SIZE, DMA_BIDIRECTIONAL);
	ret = dma_mapping_error(this->dev, this->ring_address);
	if (ret)
		goto no_address;
	return 0;

no_address:
	vunmap(this->ring);
no_mapping:
	rk_dma_heap_free_contig_pages(this->heap, this->ring_pages, RING_SIZE, dev_name(this->dev));
	return ret;
}

/* The pages come last: they may belong to somebody else at once. */
static void example_ring_exit(void *data)
{
	struct example *this = data;

	dma_unmap_page(this->dev, this->ring_address, RING_SIZE, DMA_BIDIRECTIONAL);
	vunmap(this->ring);
	rk_dma_heap_free_contig_pages(this->heap, this->ring_pages, RING_SIZE, dev_name(this->dev));
}

/*
 * The frame. A dma-buf has an exporter, which maps it and syncs it for all who use it.
 */

static int example_frame_init(struct example *this)
{
	int ret;

	this->frame = rk_dma_heap_buffer_alloc(this->heap, FRAME_SIZE, O_RDWR | O_CLOEXEC, 0,
					       dev_name(this->dev));
	if (IS_ERR(this->frame))
		return PTR_ERR(this->frame);

	this->attachment = dma_buf_attach(this->frame, this->dev);
	if (IS_ERR(this->attachment)) {
		ret = PTR_ERR(this->attachment);
		goto not_attached;
	}
	/* It stays mapped for the device, so each access of the CPU is bracketed. */
	this->table = dma_buf_map_attachment_unlocked(this->attachment, DMA_TO_DEVICE);
	if (IS_ERR(this->table)) {
		ret = PTR_ERR(this->table);
		goto not_mapped;
	}
	/* The hardware takes one address. Memory of another heap might have more. */
	if (this->table->nents != 1) {
		ret = -EINVAL;
		goto in_pieces;
	}
	return 0;

in_pieces:
	dma_buf_unmap_attachment_unlocked(this->attachment, this->table, DMA_TO_DEVICE);
not_mapped:
	dma_buf_detach(this->frame, this->attachment);
not_attached:
	rk_dma_heap_buffer_free(this->frame);
	return ret;
}

static void example_frame_exit(void *data)
{
	struct example *this = data;

	dma_buf_unmap_attachment_unlocked(this->attachment, this->table, DMA_TO_DEVICE);
	dma_buf_detach(this->frame, this->attachment);
	rk_dma_heap_buffer_free(this->frame);
}

/* Access by the CPU: map, begin, access, end, unmap. Each begin that succeeds needs its end. */
static int example_frame_fill(struct example *this)
{
	struct iosys_map map;
	size_t i;
	int ret;

	ret = dma_buf_vmap_unlocked(this->frame, &map);
	if (ret)
		return ret;
	ret = dma_buf_begin_cpu_access(this->frame, DMA_TO_DEVICE);
	if (!ret) {
		for (i = 0; i < FRAME_SIZE; i += sizeof(u32))
			iosys_map_wr(&map, i, u32, i);
		ret = dma_buf_end_cpu_access(this->frame, DMA_TO_DEVICE);
	}
	dma_buf_vunmap_unlocked(this->frame, &map);
	return ret;
}

/*
 * A job: a dma-buf of a program, of whatever exporter, in as many pieces as it has.
 */

/* Writes the descriptors. Returns their number or a negative error number. */
static int example_write_ring(struct example *this, struct sg_table *table)
{
	dma_addr_t source = sg_dma_address(this->table->sgl);
	size_t left = FRAME_SIZE;
	struct scatterlist *sg;
	int i, ret = 0;

	dma_sync_single_for_cpu(this->dev, this->ring_address, RING_SIZE, DMA_BIDIRECTIONAL);
	for_each_sgtable_dma_sg(table, sg, i) {
		u32 length = min_t(size_t, sg_dma_len(sg), left);

		if (!length)
			break;
		if (i == RING_ENTRIES) {
			ret = -E2BIG;
			break;
		}
		this->ring[i] = (struct example_descriptor){
			.source = cpu_to_le64(source),
			.target = cpu_to_le64(sg_dma_address(sg)),
			.length = cpu_to_le32(length),
		};
		source += length;
		left -= length;
	}
	dma_sync_single_for_device(this->dev, this->ring_address, RING_SIZE, DMA_BIDIRECTIONAL);
	return ret ?: i;
}

static int example_run_hardware(struct example *this, unsigned int count)
{
	dma_addr_t source = sg_dma_address(this->table->sgl);
	unsigned int i;
	int ret = 0;

	/*
	 * Hardware: write ring_address and count to the device's registers here, and wait for its
	 * interrupt: wait_for_completion_timeout(). Stop the device before you return an error.
	 */
	dma_sync_single_for_cpu(this->dev, this->ring_address, RING_SIZE, DMA_BIDIRECTIONAL);
	this->bytes = 0;
	for (i = 0; i < count; i++) {
		/* What the hardware would read has no gap. */
		if (le64_to_cpu(this->ring[i].source) != source + this->bytes)
			ret = -EIO;
		this->bytes += le32_to_cpu(this->ring[i].length);
	}
	this->target = le64_to_cpu(this->ring[count - 1].target);
	dma_sync_single_for_device(this->dev, this->ring_address, RING_SIZE, DMA_BIDIRECTIONAL);
	this->descriptors = count;
	this->jobs++;
	return ret;
}

/* The buffer belongs to the device from map to unmap. Nobody else has to sync it. */
static int example_submit(struct example *this, struct dma_buf *buffer)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	int ret;

	attachment = dma_buf_attach(buffer, this->dev);
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	table = dma_buf_map_attachment_unlocked(attachment, DMA_FROM_DEVICE);
	if (IS_ERR(table)) {
		ret = PTR_ERR(table);
		goto detach;
	}
	ret = example_write_ring(this, table);
	if (ret > 0)
		ret = example_run_hardware(this, ret);
	dma_buf_unmap_attachment_unlocked(attachment, table, DMA_FROM_DEVICE);
detach:
	dma_buf_detach(buffer, attachment);
	return ret;
}

/* Copies between mappings. Each begin that succeeds needs its end. */
static int example_copy_mapped(struct example *this, const struct iosys_map *source,
			       struct dma_buf *buffer, struct iosys_map *target)
{
	int ret, end;

	ret = dma_buf_begin_cpu_access(this->frame, DMA_FROM_DEVICE);
	if (ret)
		return ret;
	ret = dma_buf_begin_cpu_access(buffer, DMA_TO_DEVICE);
	if (!ret) {
		/* Buffers of heaps are memory, those of other exporters may be registers. */
		iosys_map_memcpy_to(target, 0, source->vaddr,
				    min_t(size_t, buffer->size, FRAME_SIZE));
		ret = dma_buf_end_cpu_access(buffer, DMA_TO_DEVICE);
	}
	end = dma_buf_end_cpu_access(this->frame, DMA_FROM_DEVICE);
	return ret ?: end;
}

/*
 * The hardware would have done this. Where devices pass buffers on, mapping before begin costs
 * less (docs/drivers.md, "Who syncs").
 */
static int example_copy_by_cpu(struct example *this, struct dma_buf *buffer)
{
	struct iosys_map source, target;
	int ret;

	ret = dma_buf_vmap_unlocked(this->frame, &source);
	if (ret)
		return ret;
	ret = dma_buf_vmap_unlocked(buffer, &target);
	if (!ret) {
		ret = example_copy_mapped(this, &source, buffer, &target);
		dma_buf_vunmap_unlocked(buffer, &target);
	}
	dma_buf_vunmap_unlocked(this->frame, &source);
	return ret;
}

static int example_copy(struct example *this, s32 fd)
{
	struct dma_buf *buffer = dma_buf_get(fd);
	int ret;

	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	mutex_lock(&this->lock);
	ret = example_submit(this, buffer) ?: example_copy_by_cpu(this, buffer);
	mutex_unlock(&this->lock);
	/* The reference of dma_buf_get(), which is not one of rk_dma_heap_buffer_alloc(). */
	dma_buf_put(buffer);
	return ret;
}

/* The descriptor is the caller's own: nothing that can fail may follow, so it is returned. */
static int example_alloc(struct example *this, u64 size)
{
	if (size > SIZE_MAX)
		return -EINVAL;
	return rk_dma_heap_bufferfd_alloc(this->heap, size, O_RDWR | O_CLOEXEC, 0, NULL);
}

static long example_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct example *this = container_of(file->private_data, struct example, misc);
	u64 size;
	s32 fd;

	switch (request) {
	case RK_DMA_HEAP_EXAMPLE_ALLOC:
		if (copy_from_user(&size, (void __user *)argument, sizeof(size)))
			return -EFAULT;
		return example_alloc(this, size);
	case RK_DMA_HEAP_EXAMPLE_COPY:
		if (copy_from_user(&fd, (void __user *)argument, sizeof(fd)))
			return -EFAULT;
		return example_copy(this, fd);
	}
	return -ENOTTY;
}

static const struct file_operations example_file_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = example_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* /sys/kernel/debug/rk-dma-heap-example/state */
static int state_show(struct seq_file *file, void *unused)
{
	struct example *this = file->private;
	dma_addr_t frame = sg_dma_address(this->table->sgl);

	mutex_lock(&this->lock);
	seq_printf(file, "heap %s\n", rk_dma_heap_get_name(this->heap));
	seq_printf(file, "ring %pad\n", &this->ring_address);
	seq_printf(file, "frame %pad\n", &frame);
	seq_printf(file, "jobs %u\n", this->jobs);
	seq_printf(file, "descriptors %u\n", this->descriptors);
	seq_printf(file, "bytes %llu\n", this->bytes);
	seq_printf(file, "target %pad\n", &this->target);
	mutex_unlock(&this->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static void example_put_heap(void *data)
{
	struct example *this = data;

	rk_dma_heap_put(this->heap);
}

static void example_unregister(void *data)
{
	struct example *this = data;

	debugfs_remove_recursive(this->debugfs);
	misc_deregister(&this->misc);
}

/* What devm_add_action_or_reset() names is called in reverse order when the driver is unbound. */
static int example_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct example *this;
	int ret;

	this = devm_kzalloc(dev, sizeof(*this), GFP_KERNEL);
	if (!this)
		return -ENOMEM;
	this->dev = dev;
	ret = devm_mutex_init(dev, &this->lock);
	if (ret)
		return ret;

	/* What the hardware can address, and how long a segment may be, or 64 KiB is assumed. */
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (ret)
		return dev_err_probe(dev, ret, "no DMA\n");
	dma_set_max_seg_size(dev, UINT_MAX);

	/* Another driver may add the heap later. The kernel tries again when a driver is bound. */
	this->heap = rk_dma_heap_find(heap);
	if (!this->heap)
		return dev_err_probe(dev, -EPROBE_DEFER, "there is no heap %s yet\n", heap);
	ret = devm_add_action_or_reset(dev, example_put_heap, this);
	if (ret)
		return ret;

	ret = example_ring_init(this);
	if (ret)
		return dev_err_probe(dev, ret, "no ring of %u bytes\n", RING_SIZE);
	ret = devm_add_action_or_reset(dev, example_ring_exit, this);
	if (ret)
		return ret;

	ret = example_frame_init(this);
	if (ret)
		return dev_err_probe(dev, ret, "no frame of %u bytes\n", FRAME_SIZE);
	ret = devm_add_action_or_reset(dev, example_frame_exit, this);
	if (ret)
		return ret;
	ret = example_frame_fill(this);
	if (ret)
		return dev_err_probe(dev, ret, "the frame cannot be written\n");

	/* Programs may call as soon as this is registered, so it comes last. */
	this->misc.minor = MISC_DYNAMIC_MINOR;
	this->misc.name = NAME;
	this->misc.fops = &example_file_operations;
	this->misc.parent = dev;
	ret = misc_register(&this->misc);
	if (ret)
		return dev_err_probe(dev, ret, "no device node\n");
	this->debugfs = debugfs_create_dir(NAME, NULL);
	debugfs_create_file("state", 0400, this->debugfs, this, &state_fops);
	ret = devm_add_action_or_reset(dev, example_unregister, this);
	if (ret)
		return ret;

	dev_info(dev, "uses heap %s\n", rk_dma_heap_get_name(this->heap));
	return 0;
}

static const struct of_device_id example_of_match[] = { { .compatible = "rk-dma-heap,example" },
							{} };
MODULE_DEVICE_TABLE(of, example_of_match);

static struct platform_driver example_driver = {
	.probe = example_probe,
	.driver = {
		.name = NAME,
		.of_match_table = example_of_match,
		/*
		 * An open file keeps the module loaded, so its device stays bound. That is not so
		 * if a supplier of the device is unbound (a regulator, an IOMMU), or the device is
		 * removed: a driver for which that may happen counts references to its data, and
		 * has a flag for "gone" under the lock.
		 */
		.suppress_bind_attrs = true,
	},
};

/*
 * Most drivers need only module_platform_driver(example_driver). This one creates its device where
 * the device tree has none, so that the example runs on every machine.
 */
static struct platform_device *own_device;

static int __init example_init(void)
{
	struct device_node *node;
	bool is_described;
	int ret;

	ret = platform_driver_register(&example_driver);
	if (ret)
		return ret;
	node = of_find_matching_node(NULL, example_of_match);
	is_described = of_device_is_available(node);
	of_node_put(node);
	if (is_described)
		return 0;
	own_device = platform_device_register_simple(NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(own_device)) {
		platform_driver_unregister(&example_driver);
		return PTR_ERR(own_device);
	}
	return 0;
}

static void __exit example_exit(void)
{
	platform_device_unregister(own_device);
	platform_driver_unregister(&example_driver);
}

module_init(example_init);
module_exit(example_exit);
MODULE_AUTHOR("The rk_dma_heap authors");
MODULE_DESCRIPTION("Example of a driver that uses the heaps of rk_dma_heap");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
