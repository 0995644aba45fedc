/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RK_CLIENT_H
#define RK_CLIENT_H

#include <linux/dma-buf.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm_types.h>
#include <linux/xarray.h>

#include "uapi.h"

/* A device: one per device tree node, or one that the module registers. */
struct client {
	struct device *dev;
	struct miscdevice misc;
};

/* How often a device can have a dma-buf mapped at a time. */
#define ATTACHMENT_MAX_MAPPINGS 4

/* A dma-buf attached to a device. Protected by the lock of the open file that it belongs to. */
struct attachment {
	struct dma_buf *buffer;
	struct dma_buf_attachment *attachment;
	/* The latest mapping, NULL if not mapped. */
	struct sg_table *table;
	/*
	 * All mappings. With CONFIG_DMABUF_DEBUG the core gives each one a list of its own,
	 * else they share the exporter's.
	 */
	struct sg_table *tables[ATTACHMENT_MAX_MAPPINGS];
	unsigned int mappings;
	enum dma_data_direction direction;
	/* NULL if there is no kernel mapping. */
	struct iosys_map mapping;
};

extern const struct file_operations client_file_operations;

/* How memory is mapped for a device. */
enum client_operations {
	CLIENT_DIRECT,
	/* By DMA operations of its own. */
	CLIENT_OWN,
	/* By those of 32-bit arm for a device behind an IOMMU. */
	CLIENT_IOMMU,
};

int operations_set(struct device *dev, enum client_operations which);
void operations_reset(struct device *dev);

struct attachment *attachment_create(struct client *client, int fd);
void attachment_destroy(struct attachment *attachment);
/* Detaches the buffer and leaves it mapped, as a careless driver does. */
void attachment_leave(struct attachment *attachment);
int attachment_map(struct attachment *attachment, enum dma_data_direction direction);
int attachment_unmap(struct attachment *attachment);
int attachment_segments(struct attachment *attachment, struct rk_client_segments *request);
int attachment_vmap(struct attachment *attachment);
int attachment_vunmap(struct attachment *attachment);

/*
 * Returns whether the device accesses memory that the kernel does not use, and its start. Such
 * memory has no kernel mapping and no valid struct page.
 */
bool attachment_is_carveout(struct attachment *attachment, phys_addr_t *start);

/*
 * Returns the `count` pages that the device accesses from `offset` on. The caller frees the array
 * by kvfree().
 */
struct page **attachment_pages(struct attachment *attachment, unsigned long offset, size_t count);

/* Mappings that only take address space. */
int occupy(struct xarray *mappings, u64 length);
void occupy_end(struct xarray *mappings);

int attachment_access(struct attachment *attachment, struct rk_client_access *request);

int exporter_export(struct rk_client_export *request);

/* Maps the whole buffer or its beginning into a process by dma_buf_mmap(). */
int attachment_mmap(struct attachment *attachment, struct vm_area_struct *area);
u32 mapping_late_calls(void);
/* EOPNOTSUPP: the kernel does not handle failures of memory. */
int page_fail(struct rk_client_fail *request);
int mapping_follow(struct rk_client_follow *request);

/* `attachment` is NULL for RK_CLIENT_USER. */
int memory_type_query(struct attachment *attachment, struct rk_client_type_query *query);

#endif
