// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers and page arrays, allocated through the module's interfaces for drivers.
 */

#include <linux/err.h>
#include <linux/slab.h>

#include "allocator.h"
#include "android.h"

static const char *name_or_null(const char *name)
{
	return *name ? name : NULL;
}

/* A page array keeps the heap's reference, which is needed to free it. */
static int rockchip_allocate(struct allocation *this, struct rk_allocator_request *request)
{
	const char *name = name_or_null(request->name);
	struct rk_dma_heap *heap = rk_dma_heap_find(request->heap);
	int ret = 0;

	if (!heap)
		return -ENXIO;
	switch (request->kind) {
	case RK_ALLOCATOR_BUFFER:
		this->buffer = rk_dma_heap_buffer_alloc(heap, request->length, request->fd_flags,
							request->heap_flags, name);
		ret = PTR_ERR_OR_ZERO(this->buffer);
		break;
	case RK_ALLOCATOR_DESCRIPTOR:
		request->fd = rk_dma_heap_bufferfd_alloc(heap, request->length, request->fd_flags,
							 request->heap_flags, name);
		ret = min(request->fd, 0);
		break;
	case RK_ALLOCATOR_PAGES:
		this->pages = rk_dma_heap_alloc_contig_pages(heap, request->length, name);
		ret = this->pages ? PTR_ERR_OR_ZERO(this->pages) : -ENOMEM;
		if (!ret) {
			this->heap = heap;
			request->physical_address = page_to_phys(this->pages);
			return 0;
		}
		break;
	default:
		ret = -EINVAL;
	}
	rk_dma_heap_put(heap);
	return ret;
}

struct allocation *allocation_create(struct rk_allocator_request *request)
{
	struct allocation *this = kzalloc(sizeof(*this), GFP_KERNEL);
	int ret;

	if (!this)
		return ERR_PTR(-ENOMEM);
	this->interface = request->interface;
	this->length = request->length;
	strscpy(this->name, request->name);
	if (request->interface == RK_ALLOCATOR_ANDROID) {
		this->buffer = android_buffer(request);
		ret = PTR_ERR_OR_ZERO(this->buffer);
	} else {
		ret = rockchip_allocate(this, request);
	}
	if (!ret && (this->buffer || this->pages))
		return this;
	kfree(this);
	return ERR_PTR(ret);
}

void allocation_destroy(struct allocation *this)
{
	if (this->pages) {
		rk_dma_heap_free_contig_pages(this->heap, this->pages, this->length,
					      name_or_null(this->name));
		rk_dma_heap_put(this->heap);
	} else if (this->interface == RK_ALLOCATOR_ANDROID) {
		android_buffer_free(this->buffer);
	} else {
		rk_dma_heap_buffer_free(this->buffer);
	}
	kfree(this);
}

int allocation_free_wrongly(struct allocation *this, enum rk_allocator_mistake mistake)
{
	const char *name = name_or_null(this->name);
	struct page *page = this->pages;
	size_t length = this->length;

	if (!page)
		return -EINVAL;
	switch (mistake) {
	case RK_ALLOCATOR_SHORT:
		length -= PAGE_SIZE;
		break;
	case RK_ALLOCATOR_LONG:
		length += PAGE_SIZE;
		break;
	case RK_ALLOCATOR_SECOND_PAGE:
		page++;
		length -= PAGE_SIZE;
		break;
	case RK_ALLOCATOR_FOREIGN_PAGE:
		page = alloc_page(GFP_KERNEL);
		if (!page)
			return -ENOMEM;
		rk_dma_heap_free_contig_pages(this->heap, page, PAGE_SIZE, name);
		/* The driver owns the page: if the heap has freed it, this is a double free. */
		__free_page(page);
		return 0;
	default:
		return -EINVAL;
	}
	rk_dma_heap_free_contig_pages(this->heap, page, length, name);
	return 0;
}

int allocation_export(struct allocation *this)
{
	int fd;

	if (!this->buffer)
		return -EINVAL;
	get_dma_buf(this->buffer);
	fd = dma_buf_fd(this->buffer, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(this->buffer);
	return fd;
}
