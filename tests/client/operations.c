// SPDX-License-Identifier: GPL-2.0
/*
 * DMA operations of a device: like the kernel's direct mapping, but of the device's own.
 */

#include <linux/dma-map-ops.h>

#include "client.h"

#ifdef CONFIG_ARCH_HAS_DMA_OPS
static const struct dma_map_ops operations;

static int map_sg(struct device *dev, struct scatterlist *sg, int entries,
		  enum dma_data_direction direction, unsigned long attributes)
{
	int mapped;

	set_dma_ops(dev, NULL);
	mapped = dma_map_sg_attrs(dev, sg, entries, direction, attributes);
	set_dma_ops(dev, &operations);
	return mapped ?: -EIO;
}

static void unmap_sg(struct device *dev, struct scatterlist *sg, int entries,
		     enum dma_data_direction direction, unsigned long attributes)
{
	set_dma_ops(dev, NULL);
	dma_unmap_sg_attrs(dev, sg, entries, direction, attributes);
	set_dma_ops(dev, &operations);
}

static void sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int entries,
			    enum dma_data_direction direction)
{
	set_dma_ops(dev, NULL);
	dma_sync_sg_for_cpu(dev, sg, entries, direction);
	set_dma_ops(dev, &operations);
}

static void sync_sg_for_device(struct device *dev, struct scatterlist *sg, int entries,
			       enum dma_data_direction direction)
{
	set_dma_ops(dev, NULL);
	dma_sync_sg_for_device(dev, sg, entries, direction);
	set_dma_ops(dev, &operations);
}

static const struct dma_map_ops operations = {
	.map_sg = map_sg,
	.unmap_sg = unmap_sg,
	.sync_sg_for_cpu = sync_sg_for_cpu,
	.sync_sg_for_device = sync_sg_for_device,
};

int operations_set(struct device *dev, enum client_operations which)
{
	if (which == CLIENT_DIRECT)
		return 0;
	if (which == CLIENT_IOMMU) {
#ifdef CONFIG_ARM_DMA_USE_IOMMU
		/* The operations above stand for those of the architecture, and use no mapping. */
		dev->archdata.mapping = (struct dma_iommu_mapping *)dev;
#else
		return -EOPNOTSUPP;
#endif
	}
	set_dma_ops(dev, &operations);
	return 0;
}

void operations_reset(struct device *dev)
{
	if (get_dma_ops(dev) != &operations)
		return;
	set_dma_ops(dev, NULL);
#ifdef CONFIG_ARM_DMA_USE_IOMMU
	dev->archdata.mapping = NULL;
#endif
}
#else
int operations_set(struct device *dev, enum client_operations which)
{
	return which == CLIENT_DIRECT ? 0 : -EOPNOTSUPP;
}

void operations_reset(struct device *dev)
{
}
#endif
