/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RK_ALLOCATOR_H
#define RK_ALLOCATOR_H

#include <linux/list.h>
#include <linux/rk-dma-heap.h>

#include "allocator_uapi.h"

/* What was allocated: a buffer, or a page array. The open file that it belongs to does the locking. */
struct allocation {
	struct list_head kept;
	enum rk_allocator_interface interface;
	struct dma_buf *buffer;
	struct rk_dma_heap *heap;
	struct page *pages;
	size_t length;
	/* Passed with every call; empty: none is. */
	char name[RK_ALLOCATOR_NAME_SIZE];
};

/* Allocates what `request` says. NULL with a descriptor, which is nobody's but the caller's. */
struct allocation *allocation_create(struct rk_allocator_request *request);
void allocation_destroy(struct allocation *this);

/* Gives pages back wrongly. They stay. */
int allocation_free_wrongly(struct allocation *this, enum rk_allocator_mistake mistake);

/* A new file descriptor of a buffer. */
int allocation_export(struct allocation *this);

int allocation_transfer(struct allocation *this, struct rk_allocator_transfer *transfer);
int allocation_mapped(struct allocation *this, struct rk_allocator_transfer *transfer);

/* The driver's own heap; there is one at a time. */
int own_heap_add(struct rk_allocator_heap *description);
int own_heap_remove(void);
int own_heap_describe(struct rk_allocator_description *description);

#endif
