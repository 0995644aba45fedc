// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf that is attached to a device, and the device's mapping of it.
 */

#include <linux/dma-direct.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "client.h"

struct attachment *attachment_create(struct client *client, int fd)
{
	struct attachment *this = kzalloc(sizeof(*this), GFP_KERNEL);
	int ret;

	if (!this)
		return ERR_PTR(-ENOMEM);
	this->buffer = dma_buf_get(fd);
	if (IS_ERR(this->buffer)) {
		ret = PTR_ERR(this->buffer);
		goto no_buffer;
	}
	this->attachment = dma_buf_attach(this->buffer, client->dev);
	if (IS_ERR(this->attachment)) {
		ret = PTR_ERR(this->attachment);
		goto not_attached;
	}
	return this;

not_attached:
	dma_buf_put(this->buffer);
no_buffer:
	kfree(this);
	return ERR_PTR(ret);
}

void attachment_destroy(struct attachment *this)
{
	if (!iosys_map_is_null(&this->mapping))
		attachment_vunmap(this);
	while (this->table)
		attachment_unmap(this);
	dma_buf_detach(this->buffer, this->attachment);
	dma_buf_put(this->buffer);
	kfree(this);
}

/* What the core hands out with CONFIG_DMABUF_DEBUG: only unmapping frees it. */
struct table_copy {
	struct sg_table *original;
	struct sg_table table;
};

void attachment_leave(struct attachment *this)
{
	unsigned int i;

	dma_buf_detach(this->buffer, this->attachment);
	if (IS_ENABLED(CONFIG_DMABUF_DEBUG)) {
		for (i = 0; i < this->mappings; i++) {
			sg_free_table(this->tables[i]);
			kfree(container_of(this->tables[i], struct table_copy, table));
		}
	}
	dma_buf_put(this->buffer);
	kfree(this);
}

int attachment_map(struct attachment *this, enum dma_data_direction direction)
{
	struct sg_table *table;

	if (direction < DMA_BIDIRECTIONAL || direction > DMA_FROM_DEVICE)
		return -EINVAL;
	if (this->mappings == ATTACHMENT_MAX_MAPPINGS)
		return -EBUSY;
	table = dma_buf_map_attachment_unlocked(this->attachment, direction);
	if (IS_ERR(table))
		return PTR_ERR(table);
	this->tables[this->mappings++] = table;
	this->table = table;
	this->direction = direction;
	return 0;
}

int attachment_unmap(struct attachment *this)
{
	if (!this->table)
		return -EINVAL;
	dma_buf_unmap_attachment_unlocked(this->attachment, this->table, this->direction);
	this->mappings--;
	this->table = this->mappings ? this->tables[this->mappings - 1] : NULL;
	return 0;
}

/* Derived from the DMA address, not from the list's pages: this is what the device would access. */
static phys_addr_t physical_address(struct attachment *this, dma_addr_t address)
{
	struct device *dev = this->attachment->dev;

	if (use_dma_iommu(dev))
		return iommu_iova_to_phys(iommu_get_domain_for_dev(dev), address);
	return dma_to_phys(dev, address);
}

int attachment_segments(struct attachment *this, struct rk_client_segments *request)
{
	struct rk_client_segment __user *user = u64_to_user_ptr(request->segments);
	struct scatterlist *sg;
	int i;

	if (!this->table)
		return -EINVAL;
	for_each_sgtable_dma_sg(this->table, sg, i) {
		struct rk_client_segment segment = {
			.dma_address = sg_dma_address(sg),
			.physical_address = physical_address(this, sg_dma_address(sg)),
			.length = sg_dma_len(sg),
		};

		if (i < request->count && copy_to_user(&user[i], &segment, sizeof(segment)))
			return -EFAULT;
	}
	request->count = this->table->nents;
	return 0;
}

bool attachment_is_carveout(struct attachment *this, phys_addr_t *start)
{
	if (!this->table || this->table->nents != 1)
		return false;
	*start = physical_address(this, sg_dma_address(this->table->sgl));
	return region_intersects(*start, sg_dma_len(this->table->sgl), IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) == REGION_DISJOINT;
}

struct page **attachment_pages(struct attachment *this, unsigned long offset, size_t count)
{
	unsigned long skip = offset >> PAGE_SHIFT;
	struct page **pages;
	struct scatterlist *sg;
	phys_addr_t start;
	size_t filled = 0;
	int i;

	if (!this->table || attachment_is_carveout(this, &start))
		return ERR_PTR(-EINVAL);
	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	for_each_sgtable_dma_sg(this->table, sg, i) {
		unsigned long frames = sg_dma_len(sg) >> PAGE_SHIFT;

		for (; skip < frames && filled < count; skip++) {
			dma_addr_t address = sg_dma_address(sg) + (skip << PAGE_SHIFT);
			unsigned long frame = PHYS_PFN(physical_address(this, address));

			if (!pfn_valid(frame))
				goto bad;
			pages[filled++] = pfn_to_page(frame);
		}
		skip -= min(skip, frames);
	}
	if (filled == count)
		return pages;
bad:
	kvfree(pages);
	return ERR_PTR(-EINVAL);
}

int attachment_vmap(struct attachment *this)
{
	int ret;

	if (!iosys_map_is_null(&this->mapping))
		return -EBUSY;
	ret = dma_buf_vmap_unlocked(this->buffer, &this->mapping);
	if (ret)
		iosys_map_clear(&this->mapping);
	return ret;
}

int attachment_vunmap(struct attachment *this)
{
	if (iosys_map_is_null(&this->mapping))
		return -EINVAL;
	dma_buf_vunmap_unlocked(this->buffer, &this->mapping);
	iosys_map_clear(&this->mapping);
	return 0;
}
