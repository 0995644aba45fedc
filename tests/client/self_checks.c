// SPDX-License-Identifier: GPL-2.0
/*
 * Checks that a driver makes itself. Each returns 0, -EIO if a promise does not hold, or the error
 * of the interface.
 */

#include <linux/device/faux.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "allocator.h"

#define CHECKED_OBJECTS 256

/*
 * The DMA parameters of a device that has none of its own are valid after its driver was unbound.
 * The objects are allocated where they would be, if they had been freed.
 */
int check_unbound_device(void)
{
	struct faux_device *faux = faux_device_create("rk-allocator-faux", NULL, NULL);
	void **objects = kcalloc(CHECKED_OBJECTS, sizeof(*objects), GFP_KERNEL);
	unsigned int i, size = 0;
	int ret = -ENOMEM;

	if (!faux || !objects)
		goto out;
	ret = rk_dma_heap_set_dev(&faux->dev);
	if (ret)
		goto out;
	device_release_driver(&faux->dev);
	for (i = 0; i < CHECKED_OBJECTS; i++) {
		/* Alone, or with the header of a device's resource: in one of these slab caches. */
		static const size_t lengths[] = { 16, 32, 64, 96, 128, 192, 256 };
		size_t length = lengths[i % ARRAY_SIZE(lengths)];

		objects[i] = kmalloc(length, GFP_KERNEL);
		if (objects[i])
			memset(objects[i], 0x5a, length);
	}
	size = faux->dev.dma_parms ? faux->dev.dma_parms->max_segment_size : UINT_MAX;
	ret = size == UINT_MAX ? 0 : -EIO;
	for (i = 0; i < CHECKED_OBJECTS; i++)
		kfree(objects[i]);
out:
	kfree(objects);
	if (faux)
		faux_device_destroy(faux);
	return ret;
}

/* Single pages are zeroed, and none is left in the array after they are freed. */
int check_single_pages(const char *name, u64 count, u32 round)
{
	struct rk_dma_heap *heap = rk_dma_heap_find(name);
	size_t i, length = count << PAGE_SHIFT;
	struct page **pages;
	void *memory;
	int ret;

	if (!heap)
		return -ENXIO;
	pages = kvcalloc(count + 1, sizeof(*pages), GFP_KERNEL);
	if (!pages) {
		rk_dma_heap_put(heap);
		return -ENOMEM;
	}
	/* Part of a page is none. */
	ret = rk_dma_heap_alloc_pages(heap, pages, length + PAGE_SIZE - 1,
				      round % 2 ? GFP_NOWAIT : GFP_KERNEL, "single");
	for (i = 0; i < count && !ret; i++) {
		if (!pages[i]) {
			ret = -EIO;
			break;
		}
		memory = kmap_local_page(pages[i]);
		if (memchr_inv(memory, 0, PAGE_SIZE))
			ret = -EIO;
		memset(memory, 0xa5, PAGE_SIZE);
		kunmap_local(memory);
	}
	if (pages[count])
		ret = -EIO;
	if (ret && ret != -EIO) {
		/* Nothing is left after a failure. */
		if (count && memchr_inv(pages, 0, count * sizeof(*pages)))
			ret = -EIO;
	} else {
		rk_dma_heap_free_pages(heap, pages, count);
		if (memchr_inv(pages, 0, count * sizeof(*pages)))
			ret = -EIO;
	}
	kvfree(pages);
	rk_dma_heap_put(heap);
	return ret;
}

/* Page frames are memory, which a second mapping shows. */
int check_frames(u64 address, u64 length)
{
	unsigned long pfn = PHYS_PFN(address);
	unsigned int count = PFN_UP(length);
	pgprot_t prot = pgprot_writecombine(PAGE_KERNEL);
	int ret = 0;
	u8 *memory;

	memory = rk_vmap_contig_pfn(pfn, count, prot);
	if (!memory)
		return -ENOMEM;
	memset(memory, 0x5a, length);
	vunmap(memory);
	memory = rk_vmap_contig_pfn(pfn, count, prot);
	if (!memory)
		return -ENOMEM;
	if (memchr_inv(memory, 0x5a, length))
		ret = -EIO;
	vunmap(memory);
	return ret;
}

int check_unbalanced_puts(const char *name)
{
	struct rk_dma_heap *heap = rk_dma_heap_find(name);
	unsigned int i;

	if (!heap)
		return -ENXIO;
	for (i = 0; i < 4; i++)
		rk_dma_heap_put(heap);
	rk_dma_heap_put(NULL);
	heap = rk_dma_heap_find(name);
	if (!heap)
		return -EIO;
	rk_dma_heap_put(heap);
	return rk_dma_heap_cma_setup() == -ENODEV ? 0 : -EIO;
}
