// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of buffers into a process: those that the driver creates on behalf of an exporter, and
 * page tables as a driver reads them that gets an address of a process. And mappings into the
 * kernel that only take its address space.
 */

#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "client.h"

/* Calls of `importer_operations` after the exporter has set up the mapping. */
static atomic_t late_calls;

static void late_call(struct vm_area_struct *area)
{
	struct attachment *attachment = area->vm_private_data;

	atomic_inc(&late_calls);
	/* Finds a use after free on kernels with KASAN. */
	(void)READ_ONCE(attachment->buffer);
}

static vm_fault_t late_fault(struct vm_fault *fault)
{
	late_call(fault->vma);
	return VM_FAULT_SIGBUS;
}

/* Like those of drivers with memory of their own, which count references to it. */
static const struct vm_operations_struct importer_operations = {
	.open = late_call,
	.close = late_call,
	.fault = late_fault,
};

/*
 * The area does not keep the attachment. From here on it belongs to the exporter, like that of a
 * graphics driver, which drops its own reference after this.
 */
int attachment_mmap(struct attachment *attachment, struct vm_area_struct *area)
{
	area->vm_ops = &importer_operations;
	area->vm_private_data = attachment;
	return dma_buf_mmap(attachment->buffer, area, 0);
}

u32 mapping_late_calls(void)
{
	return atomic_read(&late_calls);
}

int mapping_follow(struct rk_client_follow *request)
{
	struct follow_pfnmap_args args = { .address = request->address };
	int ret = -EFAULT;

	if (request->address >= TASK_SIZE)
		return -EFAULT;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, args.address);
	if (args.vma)
		ret = follow_pfnmap_start(&args);
	if (!ret) {
		request->physical_address = PFN_PHYS(args.pfn) + offset_in_page(args.address);
		request->writable = args.writable;
		follow_pfnmap_end(&args);
	}
	mmap_read_unlock(current->mm);
	return ret;
}

int occupy(struct xarray *mappings, u64 length)
{
	size_t count = length >> PAGE_SHIFT, i;
	struct page **pages;
	void *address;
	u32 handle;
	int ret;

	if (length > U32_MAX || !count)
		return -EINVAL;
	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pages[i] = ZERO_PAGE(0);
	address = vmap(pages, count, VM_MAP, PAGE_KERNEL_RO);
	kvfree(pages);
	if (!address)
		return -ENOMEM;
	ret = xa_alloc(mappings, &handle, address, xa_limit_31b, GFP_KERNEL);
	if (ret)
		vunmap(address);
	return ret;
}

void occupy_end(struct xarray *mappings)
{
	unsigned long handle;
	void *address;

	xa_for_each(mappings, handle, address)
		vunmap(address);
	xa_destroy(mappings);
}
