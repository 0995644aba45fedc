// SPDX-License-Identifier: GPL-2.0
/*
 * Memory types of mappings, from the page tables.
 *
 * On arm64 they are read by the CPU's address translation instructions. On 32-bit Arm the result of
 * these has no attributes in QEMU, so the kernel's page tables are read there.
 */

#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "client.h"

#if defined(CONFIG_ARM64)

#include <asm/barrier.h>
#include <asm/sysreg.h>
#include <asm/uaccess.h>

static int attribute_of(unsigned long address, bool user, u32 *attribute)
{
	unsigned long flags;
	u64 result;

	/* An interrupt handler might translate an address too. */
	local_irq_save(flags);
	if (user) {
		uaccess_ttbr0_enable();
		asm volatile("at s1e0r, %0" : : "r"(address));
	} else {
		asm volatile("at s1e1r, %0" : : "r"(address));
	}
	isb();
	result = read_sysreg(par_el1);
	if (user)
		uaccess_ttbr0_disable();
	local_irq_restore(flags);

	if (result & SYS_PAR_EL1_F)
		return -EFAULT;
	*attribute = FIELD_GET(SYS_PAR_EL1_ATTR, result);
	return 0;
}

static enum rk_client_memory_type type_of(u32 attribute)
{
	switch (attribute) {
	case 0x44:
		return RK_CLIENT_TYPE_WRITE_COMBINED;
	/* 0xf0: the same with memory tagging. */
	case 0xff:
	case 0xf0:
		return RK_CLIENT_TYPE_WRITE_BACK;
	}
	return attribute & 0xf0 ? RK_CLIENT_TYPE_UNKNOWN : RK_CLIENT_TYPE_DEVICE;
}

#elif defined(CONFIG_ARM)

static int attribute_of_entry(pmd_t *pmd, unsigned long address, u32 *attribute)
{
	struct page *table;
	pte_t *entries, entry;

	/* The linear map has no entries for single pages. */
	if (pmd_none(*pmd) || pmd_leaf(*pmd))
		return -EFAULT;
	table = pmd_page(*pmd);
	entries = kmap_local_page(table);
	entry = entries[pte_index(address)];
	kunmap_local(entries);
	if (!pte_present(entry))
		return -EFAULT;
	*attribute = (pte_val(entry) & L_PTE_MT_MASK) >> 2;
	return 0;
}

static int attribute_of(unsigned long address, bool user, u32 *attribute)
{
	struct mm_struct *mm = current->mm;
	pgd_t *pgd;
	int ret = -EFAULT;

	/* An access copies the kernel's entries into the page table of this process. */
	if (!user)
		(void)READ_ONCE(*(const u8 *)address);
	mmap_read_lock(mm);
	pgd = pgd_offset(mm, address);
	if (!pgd_none(*pgd))
		ret = attribute_of_entry(pmd_offset(pud_offset(p4d_offset(pgd, address), address),
						    address),
					 address, attribute);
	mmap_read_unlock(mm);
	return ret;
}

static enum rk_client_memory_type type_of(u32 attribute)
{
	switch (attribute << 2) {
	case L_PTE_MT_BUFFERABLE:
		return RK_CLIENT_TYPE_WRITE_COMBINED;
	case L_PTE_MT_WRITEBACK:
	case L_PTE_MT_WRITEALLOC:
		return RK_CLIENT_TYPE_WRITE_BACK;
	case L_PTE_MT_UNCACHED:
	case L_PTE_MT_DEV_SHARED:
		return RK_CLIENT_TYPE_DEVICE;
	}
	return RK_CLIENT_TYPE_UNKNOWN;
}

#else

static int attribute_of(unsigned long address, bool user, u32 *attribute)
{
	return -EOPNOTSUPP;
}

static enum rk_client_memory_type type_of(u32 attribute)
{
	return RK_CLIENT_TYPE_UNKNOWN;
}

#endif

/* Returns the address of the page at `offset` in the linear map. High memory is not in it. */
static int linear_address(struct attachment *attachment, unsigned long offset,
			  unsigned long *address)
{
	struct page **pages = attachment_pages(attachment, offset, 1);
	int ret = 0;

	if (IS_ERR(pages))
		return PTR_ERR(pages);
	if (PageHighMem(*pages))
		ret = -ENXIO;
	else
		*address = (unsigned long)page_address(*pages);
	kvfree(pages);
	return ret;
}

int memory_type_query(struct attachment *attachment, struct rk_client_type_query *query)
{
	unsigned long address = query->position;
	int ret;

	if (attachment && query->position >= attachment->buffer->size)
		return -EINVAL;
	switch (query->view) {
	case RK_CLIENT_USER:
		if (query->position >= TASK_SIZE)
			return -EINVAL;
		break;
	case RK_CLIENT_KERNEL:
		if (iosys_map_is_null(&attachment->mapping) || attachment->mapping.is_iomem)
			return -EINVAL;
		address = (unsigned long)attachment->mapping.vaddr + query->position;
		break;
	case RK_CLIENT_CACHED:
		ret = linear_address(attachment, query->position, &address);
		if (ret)
			return ret;
		break;
	default:
		return -EINVAL;
	}
	ret = attribute_of(address, query->view == RK_CLIENT_USER, &query->attribute);
	if (ret)
		return ret;
	query->type = type_of(query->attribute);
	return 0;
}
