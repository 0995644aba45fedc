/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RK_ALLOCATOR_H
#define RK_ALLOCATOR_H

#include <linux/list.h>
#include <linux/rk-dma-heap.h>

#include "allocator_uapi.h"

/* A buffer or a page array. Protected by the lock of the open file that it belongs to. */
struct allocation {
	struct list_head kept;
	enum rk_allocator_interface interface;
	struct dma_buf *buffer;
	struct rk_dma_heap *heap;
	struct page *pages;
	size_t length;
	/* Passed with every call; if empty, NULL is passed. */
	char name[RK_ALLOCATOR_NAME_SIZE];
};

/*
 * Allocates as `request` says. Returns NULL if the result is a descriptor, which belongs to the
 * caller alone.
 */
struct allocation *allocation_create(struct rk_allocator_request *request);
void allocation_destroy(struct allocation *this);

/* Frees a page array in a wrong way. The array must stay allocated. */
int allocation_free_wrongly(struct allocation *this, enum rk_allocator_mistake mistake);

/* Returns a new file descriptor of a buffer. */
int allocation_export(struct allocation *this);

int allocation_transfer(struct allocation *this, struct rk_allocator_transfer *transfer);
int allocation_mapped(struct allocation *this, struct rk_allocator_transfer *transfer);

/* The driver's own heap. At most one exists at a time. */
int own_heap_add(struct rk_allocator_heap *description);
int own_heap_remove(void);
int own_heap_forget(void);
/* Adds another heap and removes it again, also while the driver's own heap is being removed. */
int own_heap_pass(const char *name);
int own_heap_describe(struct rk_allocator_description *description);

int check_unbound_device(void);
int check_single_pages(const char *name, u64 count, u32 round);
int check_frames(u64 address, u64 length);
int check_unbalanced_puts(const char *name);

#endif
