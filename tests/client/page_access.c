// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and writing page arrays: like a device for which they are mapped, and through a kernel
 * mapping.
 */

#include <linux/dma-direct.h>
#include <linux/highmem.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "allocator.h"

static int copy(struct rk_allocator_transfer *transfer, size_t done, void *memory, size_t length)
{
	void __user *user = u64_to_user_ptr(transfer->data + done);

	if (transfer->write)
		return copy_from_user(memory, user, length) ? -EFAULT : 0;
	return copy_to_user(user, memory, length) ? -EFAULT : 0;
}

static bool outside(struct allocation *this, struct rk_allocator_transfer *transfer)
{
	return !this->pages || transfer->offset > this->length ||
	       transfer->length > this->length - transfer->offset || transfer->length == 0;
}

/* Copies page by page, from the address at which the device accesses the array. */
static int copy_at(struct device *dev, dma_addr_t address, struct rk_allocator_transfer *transfer)
{
	phys_addr_t start = dma_to_phys(dev, address) + transfer->offset;
	size_t done, length;
	int ret = 0;

	for (done = 0; done < transfer->length && !ret; done += length) {
		phys_addr_t current_address = start + done;
		void *memory = kmap_local_page(pfn_to_page(PHYS_PFN(current_address)));

		length = min_t(u64, transfer->length - done,
			       PAGE_SIZE - offset_in_page(current_address));
		ret = copy(transfer, done, memory + offset_in_page(current_address), length);
		kunmap_local(memory);
	}
	return ret;
}

int allocation_transfer(struct allocation *this, struct rk_allocator_transfer *transfer)
{
	dma_addr_t address;
	struct device *dev;
	int ret;

	if (outside(this, transfer))
		return -EINVAL;
	dev = bus_find_device_by_name(&platform_bus_type, NULL, transfer->device);
	if (!dev)
		return -ENODEV;
	address = dma_map_page(dev, this->pages, 0, this->length, DMA_BIDIRECTIONAL);
	ret = dma_mapping_error(dev, address);
	if (!ret) {
		dma_sync_single_for_cpu(dev, address, this->length, DMA_BIDIRECTIONAL);
		ret = copy_at(dev, address, transfer);
		dma_sync_single_for_device(dev, address, this->length, DMA_BIDIRECTIONAL);
		dma_unmap_page(dev, address, this->length, DMA_BIDIRECTIONAL);
	}
	put_device(dev);
	return ret;
}

int allocation_mapped(struct allocation *this, struct rk_allocator_transfer *transfer)
{
	void *memory;
	int ret;

	if (outside(this, transfer))
		return -EINVAL;
	memory = rk_vmap_contig_pfn(page_to_pfn(this->pages), PFN_UP(this->length), PAGE_KERNEL);
	if (!memory)
		return -ENOMEM;
	ret = copy(transfer, 0, memory + transfer->offset, transfer->length);
	vunmap(memory);
	return ret;
}
