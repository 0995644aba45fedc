// SPDX-License-Identifier: GPL-2.0
/*
 * Android's functions. Drivers expect them in <linux/dma-heap.h>, and look them up at run time.
 */

#include <linux/dma-heap.h>
#include <linux/err.h>
#include <linux/module.h>

#include "android.h"

struct dma_buf *android_buffer(struct rk_allocator_request *request)
{
	typeof(dma_heap_find) *find = symbol_get(dma_heap_find);
	typeof(dma_heap_put) *put = symbol_get(dma_heap_put);
	typeof(dma_heap_buffer_alloc) *alloc = symbol_get(dma_heap_buffer_alloc);
	typeof(dma_heap_bufferfd_alloc) *alloc_fd = symbol_get(dma_heap_bufferfd_alloc);
	struct dma_buf *buffer = ERR_PTR(-EOPNOTSUPP);
	struct dma_heap *heap;

	if (find && put && alloc && alloc_fd && request->kind != RK_ALLOCATOR_PAGES) {
		heap = find(request->heap);
		if (!heap) {
			buffer = ERR_PTR(-ENXIO);
		} else if (request->kind == RK_ALLOCATOR_BUFFER) {
			buffer = alloc(heap, request->length, request->fd_flags,
				       request->heap_flags);
		} else {
			request->fd = alloc_fd(heap, request->length, request->fd_flags,
					       request->heap_flags);
			buffer = request->fd < 0 ? ERR_PTR(request->fd) : NULL;
		}
		if (heap)
			put(heap);
	}
	if (find)
		symbol_put(dma_heap_find);
	if (put)
		symbol_put(dma_heap_put);
	if (alloc)
		symbol_put(dma_heap_buffer_alloc);
	if (alloc_fd)
		symbol_put(dma_heap_bufferfd_alloc);
	return buffer;
}

void android_buffer_free(struct dma_buf *buffer)
{
	typeof(dma_heap_buffer_free) *free = symbol_get(dma_heap_buffer_free);

	if (WARN_ON(!free))
		return;
	free(buffer);
	symbol_put(dma_heap_buffer_free);
}
