// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and writing a buffer's memory through the view of the request.
 */

#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "client.h"

/* Return value that ends an access whose search was successful. */
#define FOUND 1

/* Executes `request` on a part of the memory that begins at byte `done` of the range. */
static int access_piece(struct rk_client_access *request, size_t done, void *memory, size_t length)
{
	void __user *user = u64_to_user_ptr(request->data + done);
	void *found;

	switch (request->operation) {
	case RK_CLIENT_READ:
		return copy_to_user(user, memory, length) ? -EFAULT : 0;
	case RK_CLIENT_WRITE:
		return copy_from_user(memory, user, length) ? -EFAULT : 0;
	case RK_CLIENT_FILL:
		memset(memory, request->value, length);
		return 0;
	case RK_CLIENT_FIND_NONZERO:
		found = memchr_inv(memory, 0, length);
		if (!found)
			return 0;
		request->found = request->offset + done + (found - memory);
		return FOUND;
	}
	return -EINVAL;
}

static size_t piece_length(struct rk_client_access *request, size_t done)
{
	return min_t(u64, request->length - done,
		     PAGE_SIZE - offset_in_page(request->offset + done));
}

static int access_pages(struct rk_client_access *request, struct page **pages)
{
	size_t length, done;
	int ret = 0;

	for (done = 0; done < request->length && !ret; done += length) {
		void *memory = kmap_local_page(*pages++);

		length = piece_length(request, done);
		ret = access_piece(request, done, memory + offset_in_page(request->offset + done),
				   length);
		kunmap_local(memory);
		cond_resched();
	}
	return ret;
}

static int access_mapping(struct rk_client_access *request, void *memory)
{
	size_t length, done;
	int ret = 0;

	for (done = 0; done < request->length && !ret; done += length) {
		length = piece_length(request, done);
		ret = access_piece(request, done, memory + done, length);
		cond_resched();
	}
	return ret;
}

static int access_carveout(phys_addr_t start, struct rk_client_access *request)
{
	void *memory = memremap(start, request->length, MEMREMAP_WC);
	int ret;

	if (!memory)
		return -ENOMEM;
	ret = access_mapping(request, memory);
	/* Writes must be in memory before the caller continues. */
	mb();
	memunmap(memory);
	return ret;
}

static int access_as_device(struct attachment *attachment, struct rk_client_access *request)
{
	size_t count = PFN_UP(offset_in_page(request->offset) + request->length);
	struct page **pages;
	phys_addr_t start;
	void *memory;
	int ret;

	if (attachment_is_carveout(attachment, &start))
		return access_carveout(start + request->offset, request);
	pages = attachment_pages(attachment, request->offset, count);
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	if (request->view == RK_CLIENT_CACHED) {
		ret = access_pages(request, pages);
	} else {
		memory = vmap(pages, count, VM_MAP, pgprot_writecombine(PAGE_KERNEL));
		if (memory) {
			ret = access_mapping(request, memory + offset_in_page(request->offset));
			/* Writes must be in memory before the caller continues. */
			mb();
			vunmap(memory);
		} else {
			ret = -ENOMEM;
		}
	}
	kvfree(pages);
	return ret;
}

int attachment_access(struct attachment *attachment, struct rk_client_access *request)
{
	u64 size = attachment->buffer->size;
	int ret;

	if (request->offset > size || request->length > size - request->offset ||
	    request->length == 0)
		return -EINVAL;
	request->found = request->offset + request->length;
	switch (request->view) {
	case RK_CLIENT_CACHED:
	case RK_CLIENT_UNCACHED:
		ret = access_as_device(attachment, request);
		break;
	case RK_CLIENT_KERNEL:
		if (iosys_map_is_null(&attachment->mapping) || attachment->mapping.is_iomem)
			return -EINVAL;
		ret = access_mapping(request, attachment->mapping.vaddr + request->offset);
		break;
	default:
		return -EINVAL;
	}
	return ret == FOUND ? 0 : ret;
}
