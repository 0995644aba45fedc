// SPDX-License-Identifier: GPL-2.0

#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/efi.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/iommu-dma.h>
#include <linux/jiffies.h>
#include <linux/kmemleak.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_reserved_mem.h>
#include <linux/pid.h>
#include <linux/ptrace.h>
#include <linux/proc_fs.h>
#include <linux/poison.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/swap.h>
#include <linux/seq_file.h>
#include <linux/swiotlb.h>
#include <linux/sysfs.h>
#include <linux/tracepoint.h>
#include <linux/user_namespace.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <trace/events/cma.h>
#include <trace/events/dma_buf.h>
#include <trace/events/memory-failure.h>
#include <uapi/linux/dma-buf.h>
#include <uapi/linux/magic.h>
#include <xen/xen.h>

#include "helpers.h"

MODULE_IMPORT_NS("DMA_BUF");
MODULE_IMPORT_NS("DMA_BUF_HEAP");

unsigned long rk_dma_heap_helper_totalram_pages(void)
{
	return totalram_pages();
}

/* 32-bit arm with LPAE has zones that are partly above 4 GiB. */
unsigned long rk_dma_heap_helper_ram_pages_below_4g(void)
{
	const unsigned long limit = 1UL << (32 - PAGE_SHIFT);
	unsigned long pages = 0;
	int node, index;

	for_each_online_node(node) {
		for (index = 0; index < MAX_NR_ZONES; index++) {
			struct zone *zone = &NODE_DATA(node)->node_zones[index];
			unsigned long start = zone->zone_start_pfn;

			if (start < limit)
				pages += min(zone_managed_pages(zone), limit - start);
		}
	}
	return pages;
}

/*
 * Returns by how many pages the page allocator has raised the watermarks of a zone, or may at any
 * moment: by a page block each time it has to take pages of another migration type, but never where
 * the zone has less than four of them.
 */
static unsigned long zone_boost(const struct zone *zone)
{
	unsigned long boost = READ_ONCE(zone->watermark_boost);

	if (pageblock_nr_pages * 4 > zone_managed_pages(zone))
		return boost;
	return max(boost, pageblock_nr_pages);
}

/* The largest number of pages by which a CPU has changed a counter of a zone without adding it. */
#define MAX_STAT_THRESHOLD 125

/*
 * Returns the number of pages that a zone has above a watermark for allocations that may also come
 * from the zones up to `highest`: the kernel keeps a part of each lower zone for those that may
 * not. The watermark high includes what the page allocator may raise it by at any moment, and the
 * watermark min what it has raised it by at present. Half of the page cache counts as available,
 * because it is reclaimed first. Per-CPU page lists do not count: the page allocator ignores them
 * in this decision, and below the watermark high each CPU may move more pages to its list.
 *
 * Not `exact`, the result is at most the exact one, and the counters of the CPUs are not read, each
 * of which is in another cache line.
 */
static unsigned long zone_spare_pages(struct zone *zone, enum zone_watermarks mark,
				      enum zone_type highest, bool exact)
{
	unsigned long cached = zone_page_state(zone, NR_ZONE_INACTIVE_FILE) +
			       zone_page_state(zone, NR_ZONE_ACTIVE_FILE);
	unsigned long boost =
		mark == WMARK_HIGH ? zone_boost(zone) : READ_ONCE(zone->watermark_boost);
	unsigned long reserved = READ_ONCE(zone->nr_free_highatomic) + zone->_watermark[mark] +
				 boost + zone->lowmem_reserve[highest];
	unsigned long available = cached / 2;

	if (exact) {
		available += zone_page_state_snapshot(zone, NR_FREE_PAGES);
		reserved += zone_page_state_snapshot(zone, NR_FREE_CMA_PAGES);
	} else {
		available += zone_page_state(zone, NR_FREE_PAGES);
		reserved += zone_page_state(zone, NR_FREE_CMA_PAGES) +
			    2 * MAX_STAT_THRESHOLD * num_online_cpus();
	}
	return available - min(available, reserved);
}

/* Zones are checked from the largest one down, which is usually sufficient alone. */
static bool zones_suffice(unsigned long wanted, bool above_high, bool highmem, bool exact)
{
	const enum zone_watermarks mark = above_high ? WMARK_HIGH : WMARK_MIN;
	unsigned long pages = 0;
	int node, index;

	for_each_online_node(node) {
		for (index = highmem ? ZONE_MOVABLE - 1 : ZONE_NORMAL; index >= 0; index--) {
			struct zone *zone = &NODE_DATA(node)->node_zones[index];

			if (!populated_zone(zone))
				continue;
			pages += zone_spare_pages(zone, mark, ZONE_NORMAL, exact);
			if (pages >= wanted)
				return true;
		}
	}
	return false;
}

/*
 * Returns whether the page allocator can serve GFP_KERNEL allocations of this size before it falls
 * below a watermark: below min it triggers the OOM killer.
 */
bool rk_dma_heap_helper_free_pages_suffice(unsigned long wanted, bool above_high, bool highmem)
{
	return zones_suffice(wanted, above_high, highmem, false) ||
	       zones_suffice(wanted, above_high, highmem, true);
}

unsigned int rk_dma_heap_helper_nr_node_ids(void)
{
	return nr_node_ids;
}

int rk_dma_heap_helper_page_node(const struct page *page)
{
	return page_to_nid(page);
}

/* The number of pages may be negative. */
void rk_dma_heap_helper_mod_reclaimable(int node, long pages)
{
	mod_node_page_state(NODE_DATA(node), NR_KERNEL_MISC_RECLAIMABLE, pages);
}

/*
 * Returns an upper limit for the pages that can be allocated outside of CMA areas: free ones, and
 * those that the kernel can reclaim. Watermarks and pages in use are not subtracted.
 */
unsigned long rk_dma_heap_helper_obtainable_pages(void)
{
	unsigned long free = global_zone_page_state(NR_FREE_PAGES);
	unsigned long anonymous =
		global_node_page_state(NR_INACTIVE_ANON) + global_node_page_state(NR_ACTIVE_ANON);

	return free - min(free, global_zone_page_state(NR_FREE_CMA_PAGES)) +
	       global_node_page_state(NR_INACTIVE_FILE) + global_node_page_state(NR_ACTIVE_FILE) +
	       global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) +
	       min_t(unsigned long, anonymous, max(get_nr_swap_pages(), 0L));
}

/* Returns the pages that somebody keeps and a shrinker frees, other than slabs. */
unsigned long rk_dma_heap_helper_kept_pages(void)
{
	return global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE);
}

bool rk_dma_heap_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

unsigned long rk_dma_heap_helper_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *rk_dma_heap_helper_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

void rk_dma_heap_helper_clear_pages(struct page *head, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		clear_highpage(head + i);
		cond_resched();
	}
}

/*
 * Returns the number of pages before the first one that has other references than that of its
 * owner. A mapping by vm_insert_page() holds one as well.
 */
unsigned long rk_dma_heap_helper_unshared_pages(const struct page *head, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		if (page_ref_count(head + i) != 1)
			break;
	}
	return i;
}

unsigned long rk_dma_heap_helper_intact_pages(unsigned long pfn, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		struct page *page = pfn_to_online_page(pfn + i);

		if (page && PageHWPoison(page))
			break;
	}
	return i;
}

bool rk_dma_heap_helper_clear_unshared_pages(unsigned long pfn, unsigned long count)
{
	struct page *head = pfn_to_page(pfn);
	u64 references = 0;
	unsigned long i;

	/*
	 * Shared pages are rare, so looking at all is faster than a branch for each. The owner has
	 * a reference to each page, so there are more only if some page has another one.
	 */
#pragma GCC unroll 8
	for (i = 0; i < count; i++)
		references += (u32)page_ref_count(head + i);
	if (references != count)
		return false;
	if (!IS_ENABLED(CONFIG_HIGHMEM)) {
		/*
		 * Some architectures zero several pages faster than one by one. The address has no
		 * tag of KASAN: the pages may have been allocated in several parts.
		 */
		if (count)
			clear_pages(kasan_reset_tag(page_address(head)), count);
		return true;
	}
	for (i = 0; i < count; i++)
		clear_highpage(head + i);
	return true;
}

/* Sets the nice value of the calling task if it is a kernel thread, and returns the former one. */
int rk_dma_heap_helper_exchange_own_nice(int nice)
{
	int before = task_nice(current);

	if (current->flags & PF_KTHREAD)
		set_user_nice(current, nice);
	return before;
}

void rk_dma_heap_helper_cond_resched(void)
{
	cond_resched();
}

/*
 * Returns the use of a page of a contiguous memory area, and the number of pages from there on that
 * belong to the same free block or folio. The page belongs to others, so the result may be outdated
 * at once. The reference keeps the folio from being split or freed while its references are
 * counted. A page that has no reference and is no tail page is free or is about to be.
 *
 * Migration waits for the lock of a folio, and for the end of its writeback, as long as that takes:
 * a file system in user space may never answer. With `idle_only` such a folio counts as allocated.
 */
static __always_inline enum rk_dma_heap_page_use page_use(unsigned long pfn, bool idle_only,
							  unsigned long *count)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);
	enum rk_dma_heap_page_use use = RK_PAGE_MOVABLE;

	*count = 1;
	if (!folio_ref_count(folio)) {
		unsigned long order = READ_ONCE(page->private);

		if (PageBuddy(page) && order <= MAX_PAGE_ORDER)
			*count = (1UL << order) - (pfn & ((1UL << order) - 1));
		return use;
	}
	if (!folio_test_lru(folio))
		return page_has_movable_ops(&folio->page) ? use : RK_PAGE_ALLOCATED;
	if (!folio_try_get(folio))
		return use;
	if (page_folio(page) == folio && folio_test_lru(folio)) {
		if (idle_only && (folio_test_locked(folio) || folio_test_writeback(folio)))
			use = RK_PAGE_ALLOCATED;
		else if (folio_ref_count(folio) > folio_expected_ref_count(folio) + 1)
			use = RK_PAGE_PINNED;
		*count = folio_pfn(folio) + folio_nr_pages(folio) - pfn;
	}
	folio_put(folio);
	return use;
}

/*
 * Returns the use of a page of a contiguous memory area that ends at the page frame number `end`,
 * and a number of pages from there on that have the same use, for a range of `wanted` pages. The
 * search stops after that many movable pages, or 1024. Of allocated pages not all are looked at:
 * between two of them that are no farther apart than `wanted` pages, the range does not fit. May
 * sleep.
 */
enum rk_dma_heap_page_use rk_dma_heap_helper_page_use(unsigned long pfn, unsigned long end,
						      unsigned long wanted, unsigned long *count)
{
	enum rk_dma_heap_page_use use;
	unsigned long step, more, total;

	cond_resched();
	use = page_use(pfn, false, &total);
	for (step = wanted; use == RK_PAGE_ALLOCATED && step > 0; step /= 2)
		while (step <= end - pfn - total &&
		       page_use(pfn + total - 1 + step, false, &more) == use)
			total += step;
	if (use == RK_PAGE_MOVABLE)
		while (total < min3(wanted, end - pfn, 1024) &&
		       page_use(pfn + total, false, &more) == use)
			total += more;
	*count = total;
	return use;
}

const void *rk_dma_heap_helper_ram_zone(unsigned int index, unsigned long *start,
					unsigned long *end)
{
	int node, zone_index;

	for (zone_index = ZONE_MOVABLE - 1; zone_index >= 0; zone_index--) {
		for_each_online_node(node) {
			struct zone *zone = &NODE_DATA(node)->node_zones[zone_index];

			if (!populated_zone(zone) || index--)
				continue;
			*start = zone->zone_start_pfn;
			*end = zone_end_pfn(zone);
			return zone;
		}
	}
	return NULL;
}

bool rk_dma_heap_helper_zone_is_highmem(const void *zone)
{
	return is_highmem(zone);
}

unsigned long rk_dma_heap_helper_zone_spare_pages(void *zone, bool below_4g)
{
	const gfp_t gfp = below_4g ? GFP_USER | GFP_DMA32 : GFP_HIGHUSER;

	return zone_spare_pages(zone, WMARK_HIGH, gfp_zone(gfp), true);
}

/*
 * Returns the use of a page frame, and the number of page frames from there on that belong to the
 * same free block or folio. A page frame that is offline or of another zone counts as allocated.
 *
 * The result may be outdated at once, and memory may go offline meanwhile: like everything else
 * that walks page frames, this relies on the structures of offline pages staying for a while.
 *
 * Slab pages and others with a type may have no reference. A page without type and reference is in
 * a CPU's list of free pages or inside of a free block.
 */
enum rk_dma_heap_page_use rk_dma_heap_helper_ram_page_use(const void *zone, unsigned long pfn,
							  unsigned long *count)
{
	struct page *page = pfn_to_online_page(pfn);

	*count = 1;
	if (!page || page_zone(page) != zone || PageReserved(page))
		return RK_PAGE_ALLOCATED;
	if (folio_ref_count(page_folio(page)))
		return page_use(pfn, true, count);
	if (PageCompound(page))
		return RK_PAGE_ALLOCATED;
	if (!PageBuddy(page))
		return page_has_type(page) ? RK_PAGE_ALLOCATED : RK_PAGE_MOVABLE;
	page_use(pfn, true, count);
	return RK_PAGE_FREE;
}

unsigned long rk_dma_heap_helper_pageblock_pages(void)
{
	return pageblock_nr_pages;
}

struct page *rk_dma_heap_helper_alloc_pages_split(gfp_t gfp, unsigned long count)
{
	const unsigned int order = get_order(count << PAGE_SHIFT);
	struct page *head;
	unsigned long i;

	if (order > MAX_PAGE_ORDER)
		return NULL;
	head = alloc_pages(gfp, order);
	if (!head)
		return NULL;
	split_page(head, order);
	for (i = count; i < 1UL << order; i++)
		__free_page(head + i);
	return head;
}

int rk_dma_heap_helper_alloc_contig_range(unsigned long pfn, unsigned long count, bool reclaim)
{
	const gfp_t gfp = reclaim ? GFP_KERNEL : GFP_KERNEL & ~__GFP_DIRECT_RECLAIM;

	return alloc_contig_range(pfn, pfn + count, ACR_FLAGS_NONE, gfp | __GFP_NOWARN);
}

bool rk_dma_heap_helper_same_zone(unsigned long pfn, unsigned long other)
{
	return page_zone(pfn_to_page(pfn)) == page_zone(pfn_to_page(other));
}

void rk_dma_heap_helper_free_contig_range(unsigned long pfn, unsigned long count)
{
	free_contig_range(pfn, count);
}

void rk_dma_heap_helper_sg_init_single(struct scatterlist *sg)
{
	sg_init_table(sg, 1);
}

void rk_dma_heap_helper_sg_set_pfn(struct scatterlist *sg, unsigned long pfn, unsigned int len)
{
	sg_set_page(sg, pfn_to_page(pfn), len, 0);
}

void rk_dma_heap_helper_sg_set_dma(struct scatterlist *sg, dma_addr_t address, unsigned int len)
{
	sg_dma_address(sg) = address;
	sg_dma_len(sg) = len;
}

void rk_dma_heap_helper_dma_sync_sgtable_for_cpu(struct device *dev, struct sg_table *table,
						 enum dma_data_direction direction)
{
	dma_sync_sgtable_for_cpu(dev, table, direction);
}

void rk_dma_heap_helper_dma_sync_sgtable_for_device(struct device *dev, struct sg_table *table,
						    enum dma_data_direction direction)
{
	dma_sync_sgtable_for_device(dev, table, direction);
}

void rk_dma_heap_helper_dma_sync_single_for_cpu(struct device *dev, dma_addr_t address, size_t size,
						enum dma_data_direction direction)
{
	dma_sync_single_for_cpu(dev, address, size, direction);
}

void rk_dma_heap_helper_dma_sync_single_for_device(struct device *dev, dma_addr_t address,
						   size_t size, enum dma_data_direction direction)
{
	dma_sync_single_for_device(dev, address, size, direction);
}

int rk_dma_heap_helper_dma_coerce_mask_and_coherent(struct device *dev, u64 mask)
{
	return dma_coerce_mask_and_coherent(dev, mask);
}

/*
 * Returns whether the DMA interface cannot let the device access the memory itself: it would use a
 * bounce buffer if there is one, else fail. In a guest with encrypted memory devices access shared
 * memory only, which is that of the bounce buffers.
 *
 * This is the decision of the direct mapping, for memory of whole pages. Behind an IOMMU such
 * memory never bounces, not even for devices that are not trusted: only parts of pages do. DMA
 * operations of another kind (Xen) decide for themselves.
 */
bool rk_dma_heap_helper_dma_bounces(struct device *dev, phys_addr_t base, size_t size)
{
	dma_addr_t address;

	if (!dev->dma_mask || use_dma_iommu(dev) || get_dma_ops(dev))
		return false;
	if (is_swiotlb_force_bounce(dev) || cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return true;
	address = phys_to_dma(dev, base);
	return address == DMA_MAPPING_ERROR ||
	       address + size - 1 > min_not_zero(*dev->dma_mask, dev->bus_dma_limit);
}

/* Returns whether the device addresses all memory that there can be, without an IOMMU. */
static bool addresses_everything(struct device *dev)
{
	return *dev->dma_mask == DMA_BIT_MASK(64) && !dev->bus_dma_limit && !dev->dma_range_map &&
	       !get_dma_ops(dev) && !use_dma_iommu(dev) && !is_swiotlb_force_bounce(dev) &&
	       !cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT);
}

/*
 * Those of 32-bit arm for devices behind an IOMMU never copy, and maintain caches like the direct
 * mapping. Xen puts its own in their place.
 */
static bool has_unknown_dma_ops(struct device *dev)
{
#ifdef CONFIG_ARM
	if (to_dma_iommu_mapping(dev) && !xen_domain())
		return false;
#endif
	return get_dma_ops(dev);
}

bool rk_dma_heap_helper_dma_unknown(struct device *dev)
{
	return !dev->bus || has_unknown_dma_ops(dev);
}

bool rk_dma_heap_helper_may_copy(struct device *dev)
{
	if (!dev->bus)
		return true;
	if (!dev->dma_mask || addresses_everything(dev))
		return false;
	return has_unknown_dma_ops(dev) || dma_max_mapping_size(dev) != SIZE_MAX;
}

/* Returns SIZE_MAX for a device that never uses bounce buffers. */
size_t rk_dma_heap_helper_dma_max_bounced_size(struct device *dev)
{
	/* Kernel 7.2 reads the mask without a check for NULL. */
	if (!dev->dma_mask || addresses_everything(dev))
		return SIZE_MAX;
	return dma_max_mapping_size(dev);
}

/* Nothing is registered on a kernel without CONFIG_PM_SLEEP. */
int rk_dma_heap_helper_register_pm_notifier(struct notifier_block *block)
{
	return register_pm_notifier(block);
}

void rk_dma_heap_helper_unregister_pm_notifier(struct notifier_block *block)
{
	unregister_pm_notifier(block);
}

unsigned int rk_dma_heap_helper_lock_system_sleep(void)
{
	return lock_system_sleep();
}

void rk_dma_heap_helper_unlock_system_sleep(unsigned int flags)
{
	unlock_system_sleep(flags);
}

int rk_dma_heap_helper_notifier_from_errno(int error)
{
	return notifier_from_errno(error);
}

bool rk_dma_heap_helper_dev_is_dma_coherent(struct device *dev)
{
	return dev_is_dma_coherent(dev);
}

bool rk_dma_heap_helper_within_module(unsigned long address, const struct module *module)
{
	return within_module(address, module);
}

unsigned long rk_dma_heap_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void rk_dma_heap_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

void rk_dma_heap_helper_raw_spin_lock_init(raw_spinlock_t *lock, const char *name,
					   struct lock_class_key *key)
{
#ifdef CONFIG_DEBUG_SPINLOCK
	__raw_spin_lock_init(lock, name, key, LD_WAIT_SPIN);
#else
	raw_spin_lock_init(lock);
#endif
}

void rk_dma_heap_helper_raw_spin_lock(raw_spinlock_t *lock)
{
	raw_spin_lock(lock);
}

bool rk_dma_heap_helper_raw_spin_trylock(raw_spinlock_t *lock)
{
	return raw_spin_trylock(lock);
}

void rk_dma_heap_helper_raw_spin_unlock(raw_spinlock_t *lock)
{
	raw_spin_unlock(lock);
}

void rk_dma_heap_helper_raw_spin_assert_is_held(raw_spinlock_t *lock)
{
	lockdep_assert_held(lock);
}

void *rk_dma_heap_helper_kzalloc_forever(size_t size)
{
	void *memory = kzalloc(size, GFP_KERNEL);

	kmemleak_not_leak(memory);
	return memory;
}

/* Returns whether a message may be logged. Suppressed messages are not counted in the log. */
bool rk_dma_heap_helper_log_ratelimit(void)
{
	static struct ratelimit_state state =
		RATELIMIT_STATE_INIT_FLAGS(state, DEFAULT_RATELIMIT_INTERVAL,
					   DEFAULT_RATELIMIT_BURST, RATELIMIT_MSG_ON_RELEASE);

	return __ratelimit(&state);
}

/* With a constant size, the compiler chooses the slab cache. */
void *rk_dma_heap_helper_kmalloc_small(size_t size)
{
	if (size <= 64)
		return kmalloc(64, GFP_KERNEL);
	if (size <= 128)
		return kmalloc(128, GFP_KERNEL);
	if (size <= 192)
		return kmalloc(192, GFP_KERNEL);
	if (size <= 256)
		return kmalloc(256, GFP_KERNEL);
	return kmalloc(size, GFP_KERNEL);
}

char *rk_dma_heap_helper_kmalloc_name(gfp_t flags)
{
	return kmalloc(DMA_BUF_NAME_LEN, flags);
}

/* The kernel pads names with zeros. Each call reads the name again, also if it is inlined. */
void rk_dma_heap_helper_current_comm(u64 *words)
{
	const u64 *comm = (const u64 *)current->comm;
	unsigned int i;

	for (i = 0; i < TASK_COMM_LEN / sizeof(u64); i++)
		words[i] = data_race(*(const volatile u64 *)&comm[i]);
}

int rk_dma_heap_helper_current_tgid(void)
{
	return task_tgid_nr(current);
}

void rk_dma_heap_helper_task_comm(struct task_struct *task, char *comm)
{
	strscpy_pad(comm, task->comm, TASK_COMM_LEN);
}

int rk_dma_heap_helper_pid_nr(struct pid *pid)
{
	return pid_nr(pid);
}

/* A table may have more than a million descriptors. */
static bool visit_some_files(struct files_struct *files, unsigned int *descriptor,
			     void (*visit)(void *data, struct file *file), void *data)
{
	struct fdtable *table;
	unsigned int end;

	guard(spinlock)(&files->file_lock);
	table = files_fdtable(files);
	if (*descriptor >= table->max_fds)
		return false;
	end = *descriptor + min(table->max_fds - *descriptor, 256U);
	for (; *descriptor < end; ++*descriptor) {
		struct file *file;

		file = rcu_dereference_check_fdtable(files, table->fd[*descriptor]);
		if (file)
			visit(data, file);
	}
	return end < table->max_fds;
}

/* A thread that has exited has no files. The first one stays in the list until all have exited. */
bool rk_dma_heap_helper_visit_files(struct task_struct *process, unsigned int *descriptor,
				    void (*visit)(void *data, struct file *file), void *data)
{
	struct task_struct *thread;

	guard(rcu)();
	for_each_thread(process, thread)
	{
		guard(task_lock)(thread);
		if (thread->files)
			return visit_some_files(thread->files, descriptor, visit, data);
	}
	return false;
}

struct mm_struct *rk_dma_heap_helper_process_mm(struct task_struct *process)
{
	struct task_struct *thread;

	guard(rcu)();
	for_each_thread(process, thread)
	{
		struct mm_struct *mm = get_task_mm(thread);

		if (mm)
			return mm;
	}
	return NULL;
}

int rk_dma_heap_helper_mutex_lock_killable(struct mutex *lock)
{
	return mutex_lock_killable(lock);
}

int rk_dma_heap_helper_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

/*
 * Returns 0 if the file does not hold a dma-buf. The inode numbers of dma-bufs begin at 1. A file
 * that was opened with O_PATH has the inode of a dma-buf, but cannot be used as one.
 */
u64 rk_dma_heap_helper_dma_buf_inode(struct file *file)
{
	if (!file || (file->f_mode & FMODE_PATH) ||
	    file_inode(file)->i_sb->s_magic != DMA_BUF_MAGIC)
		return 0;
	return file_inode(file)->i_ino;
}

int rk_dma_heap_helper_dma_mapping_error(struct device *dev, dma_addr_t address)
{
	return dma_mapping_error(dev, address);
}

void *rk_dma_heap_helper_vmap_write_combined(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, pgprot_writecombine(PAGE_KERNEL));
}

void *rk_dma_heap_helper_vmap_cached(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}

/*
 * Returns the address of consecutive page frames in the linear map, or NULL if some of them are
 * high memory. Low memory lies below it, so the last one decides.
 */
void *rk_dma_heap_helper_linear_address(unsigned long pfn, unsigned long count)
{
	if (PageHighMem(pfn_to_page(pfn + count - 1)))
		return NULL;
	/* Without a tag of KASAN: the pages may have been allocated in several parts. */
	return kasan_reset_tag(lowmem_page_address(pfn_to_page(pfn)));
}

/* Returns the size of the address space of vmalloc() and vmap(), in pages. */
unsigned long rk_dma_heap_helper_vmalloc_pages(void)
{
	return VMALLOC_TOTAL >> PAGE_SHIFT;
}

void *rk_dma_heap_helper_ioremap_wc(phys_addr_t address, size_t size)
{
	return (__force void *)ioremap_wc(address, size);
}

bool rk_dma_heap_helper_pfn_valid(unsigned long pfn)
{
	return pfn_valid(pfn);
}

void *rk_dma_heap_helper_vmap_frames(unsigned long pfn, unsigned int count, pgprot_t prot)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (pfn_valid(pfn + i))
			return NULL;
#ifdef CONFIG_VMAP_PFN
	unsigned long *pfns = kvmalloc_array(count, sizeof(*pfns), GFP_KERNEL);
	void *address;

	if (!pfns)
		return NULL;
	for (i = 0; i < count; i++)
		pfns[i] = pfn + i;
	address = vmap_pfn(pfns, count, prot);
	kvfree(pfns);
	return address;
#elif defined(CONFIG_ARM64)
	/* There ioremap_prot() takes the protection of a user mapping. */
	return (__force void *)__ioremap_prot(PFN_PHYS(pfn), (size_t)count << PAGE_SHIFT, prot);
#elif defined(CONFIG_HAVE_IOREMAP_PROT)
	return (__force void *)ioremap_prot(PFN_PHYS(pfn), (size_t)count << PAGE_SHIFT, prot);
#else
	return NULL;
#endif
}

void rk_dma_heap_helper_flush_kernel_vmap_range(void *address, int length)
{
	flush_kernel_vmap_range(address, length);
}

void rk_dma_heap_helper_invalidate_kernel_vmap_range(void *address, int length)
{
	invalidate_kernel_vmap_range(address, length);
}

struct device_node *rk_dma_heap_helper_of_node_get(struct device_node *node)
{
	return of_node_get(node);
}

void rk_dma_heap_helper_of_node_put(struct device_node *node)
{
	of_node_put(node);
}

struct device_node *rk_dma_heap_helper_of_find_compatible_node(struct device_node *from,
							       const char *compatible)
{
	return of_find_compatible_node(from, NULL, compatible);
}

bool rk_dma_heap_helper_of_device_is_available(const struct device_node *node)
{
	return of_device_is_available(node);
}

struct reserved_mem *rk_dma_heap_helper_of_reserved_mem_lookup(struct device_node *node)
{
	return of_reserved_mem_lookup(node);
}

struct device_node *rk_dma_heap_helper_of_find_node_by_type(struct device_node *from,
							    const char *type)
{
	return of_find_node_by_type(from, type);
}

/* A struct resource cannot describe memory above 4 GiB on every 32-bit kernel. */
bool rk_dma_heap_helper_of_reg(struct device_node *node, int index, u64 *base, u64 *size)
{
	const __be32 *address = of_get_address(node, index, size, NULL);

	if (!address)
		return false;
	*base = of_translate_address(node, address);
	return true;
}

bool rk_dma_heap_helper_of_property_read_bool(const struct device_node *node, const char *name)
{
	return of_property_read_bool(node, name);
}

struct device_node *rk_dma_heap_helper_of_parse_phandle(const struct device_node *node,
							const char *name, int index)
{
	return of_parse_phandle(node, name, index);
}

bool rk_dma_heap_helper_efi_boot(void)
{
	return efi_enabled(EFI_BOOT);
}

bool rk_dma_heap_helper_system_ram_disjoint(phys_addr_t base, size_t size)
{
	return region_intersects(base, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
	       REGION_DISJOINT;
}

/*
 * Like the kernel on Arm, takes for memory what can be mapped other than as a device. That includes
 * memory that the firmware has reserved: no-map regions of a device tree are usually among it.
 */
bool rk_dma_heap_helper_efi_memory_at(u64 address, u64 *base, u64 *size)
{
#ifdef CONFIG_EFI
	efi_memory_desc_t entry;

	if (efi_mem_desc_lookup(address, &entry))
		return false;
	if (!(entry.attribute & (EFI_MEMORY_WB | EFI_MEMORY_WT | EFI_MEMORY_WC)))
		return false;
	switch (entry.type) {
	case EFI_UNUSABLE_MEMORY:
	case EFI_UNACCEPTED_MEMORY:
	case EFI_MEMORY_MAPPED_IO:
	case EFI_MEMORY_MAPPED_IO_PORT_SPACE:
		return false;
	}
	*base = entry.phys_addr;
	*size = entry.num_pages << EFI_PAGE_SHIFT;
	return true;
#else
	return false;
#endif
}

pgprot_t rk_dma_heap_helper_pgprot_writecombine(pgprot_t prot)
{
	return pgprot_writecombine(prot);
}

pgprot_t rk_dma_heap_helper_pgprot_dirty(pgprot_t prot)
{
	return __pgprot(pte_val(pte_mkdirty(pfn_pte(0, prot))));
}

void rk_dma_heap_helper_vm_flags_set(struct vm_area_struct *area, vm_flags_t flags)
{
	vm_flags_set(area, flags);
}

int rk_dma_heap_helper_dma_resv_lock_interruptible(struct dma_resv *resv,
						   struct ww_acquire_ctx *context)
{
	return dma_resv_lock_interruptible(resv, context);
}

bool rk_dma_heap_helper_dma_resv_trylock(struct dma_resv *resv)
{
	return dma_resv_trylock(resv);
}

struct dentry *rk_dma_heap_helper_dma_buf_dentry(const struct dma_buf *dma_buf)
{
	return dma_buf->file->f_path.dentry;
}

bool rk_dma_heap_helper_dentry_get(struct dentry *dentry)
{
	return lockref_get_not_zero(&dentry->d_lockref);
}

struct dentry *rk_dma_heap_helper_inode_dentry(struct inode *inode)
{
	struct dentry *dentry;
	bool live;

	spin_lock(&inode->i_lock);
	dentry = hlist_entry_safe(inode->i_dentry.first, struct dentry, d_alias);
	live = dentry && lockref_get_not_zero(&dentry->d_lockref);
	spin_unlock(&inode->i_lock);
	return live ? dentry : NULL;
}

bool rk_dma_heap_helper_inode_has_dentry(const struct inode *inode)
{
	return !hlist_empty(&inode->i_dentry);
}

/*
 * The release of the file, before the file is freed, takes the dma-buf off the list of all
 * dma-bufs, which poisons the list node. As long as that is not seen, no RCU grace period that
 * began after the file was freed has ended, so the pointer refers to a struct file: its slab cache
 * is SLAB_TYPESAFE_BY_RCU. It may be that of another file meanwhile.
 */
static bool file_is_released(struct dma_buf *dma_buf)
{
	return READ_ONCE(dma_buf->list_node.next) == LIST_POISON1;
}

long rk_dma_heap_helper_dma_buf_file_count(struct dma_buf *dma_buf)
{
	long count = 0;

	rcu_read_lock();
	if (!file_is_released(dma_buf)) {
		count = file_count(dma_buf->file);
		/* The count is that of this file, unless it was released by then. */
		smp_rmb();
		if (file_is_released(dma_buf))
			count = 0;
	}
	rcu_read_unlock();
	return count;
}

/*
 * Another file may have the same inode if it was opened by O_PATH. Its private data is NULL.
 */
struct file *rk_dma_heap_helper_get_dma_buf_file(struct dma_buf *dma_buf, const struct inode *inode)
{
	struct file *file = NULL;

	rcu_read_lock();
	if (!file_is_released(dma_buf))
		file = get_file_active(&dma_buf->file);
	rcu_read_unlock();
	if (file && (file->private_data != dma_buf || file_inode(file) != inode)) {
		fput(file);
		file = NULL;
	}
	return file;
}

/*
 * Writes the 16 digits of the pointer hashed as by %p, without a NUL byte. On 32-bit machines the
 * first 8 digits are zeros.
 */
void rk_dma_heap_helper_hashed_pointer(u8 *digits, const void *pointer)
{
	char text[17];
	int length = scnprintf(text, sizeof(text), "%p", pointer);

	memset(digits, '0', 16 - length);
	memcpy(digits + 16 - length, text, length);
}

void rk_dma_heap_helper_tracepoint_synchronize_unregister(void)
{
	tracepoint_synchronize_unregister();
}

void *rk_dma_heap_helper_dma_buf_export_probe(void (*probe)(void *data, struct dma_buf *dma_buf))
{
	check_trace_callback_type_dma_buf_export(probe);
	return probe;
}

void *rk_dma_heap_helper_cma_alloc_start_probe(
	void (*probe)(void *data, const char *name, unsigned long pages, unsigned long available,
		      unsigned long total, unsigned int align))
{
	check_trace_callback_type_cma_alloc_start(probe);
	return probe;
}

void *rk_dma_heap_helper_cma_alloc_finish_probe(
	void (*probe)(void *data, const char *name, unsigned long pfn, const struct page *page,
		      unsigned long pages, unsigned int align, int error))
{
	check_trace_callback_type_cma_alloc_finish(probe);
	return probe;
}

void *rk_dma_heap_helper_memory_failure_event_probe(void (*probe)(void *data, unsigned long pfn,
								  int type, int result))
{
	check_trace_callback_type_memory_failure_event(probe);
	return probe;
}

/* Returns an argument of the probed function at its entry. */
unsigned long rk_dma_heap_helper_argument(struct pt_regs *registers, unsigned int index)
{
#ifdef CONFIG_ARM
	return index ? registers->ARM_r1 : registers->ARM_r0;
#else
	return regs_get_kernel_argument(registers, index);
#endif
}

unsigned long rk_dma_heap_helper_traced_argument(void *registers, unsigned int index)
{
#ifdef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
	return ftrace_regs_get_argument((struct ftrace_regs *)registers, index);
#else
	return 0;
#endif
}

void *rk_dma_heap_helper_pde_data(const struct inode *inode)
{
	return pde_data(inode);
}

bool rk_dma_heap_helper_reader_is_admin(struct seq_file *file)
{
	return file_ns_capable(file->file, &init_user_ns, CAP_SYS_ADMIN);
}

bool rk_dma_heap_helper_reader_inspects_all(struct seq_file *file)
{
	return file_ns_capable(file->file, &init_user_ns, CAP_SYS_ADMIN) ||
	       file_ns_capable(file->file, &init_user_ns, CAP_SYS_PTRACE);
}

/*
 * Compares the credentials of the tasks that have opened the files, as the kernel does for ptrace
 * and hidepid=: the user and the group are the same, and the other task had no capability that the
 * reader lacks. Whether the other task was dumpable is not part of its credentials.
 */
bool rk_dma_heap_helper_reader_inspects(struct seq_file *file, const struct file *other)
{
	const struct cred *reader = file->file->f_cred, *owner = other->f_cred;

	/* The number is that of the initial PID namespace, in which others do not see processes. */
	if (proc_pid_ns(file_inode(file->file)->i_sb) != &init_pid_ns)
		return false;
	return reader->user_ns == owner->user_ns && uid_eq(reader->fsuid, owner->uid) &&
	       uid_eq(reader->fsuid, owner->euid) && uid_eq(reader->fsuid, owner->suid) &&
	       gid_eq(reader->fsgid, owner->gid) && gid_eq(reader->fsgid, owner->egid) &&
	       gid_eq(reader->fsgid, owner->sgid) &&
	       cap_issubset(owner->cap_permitted, reader->cap_effective);
}

bool rk_dma_heap_helper_current_is_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

bool rk_dma_heap_helper_opened_for_writing(const struct file *file)
{
	return file->f_mode & FMODE_WRITE;
}

void rk_dma_heap_helper_kthread_init_delayed_work(struct kthread_delayed_work *work,
						  void (*function)(struct kthread_work *work))
{
	kthread_init_delayed_work(work, function);
}

unsigned long rk_dma_heap_helper_msecs_to_jiffies(unsigned int milliseconds)
{
	return msecs_to_jiffies(milliseconds);
}

struct dentry *rk_dma_heap_helper_debugfs_link(const char *directory, const char *name,
					       const char *target)
{
	struct dentry *parent = debugfs_create_dir(directory, NULL);

	if (IS_ERR(parent))
		return NULL;
	if (IS_ERR(debugfs_create_symlink(name, parent, target))) {
		debugfs_remove(parent);
		return NULL;
	}
	return parent;
}

void rk_dma_heap_helper_debugfs_remove(struct dentry *directory)
{
	debugfs_remove(directory);
}

ssize_t rk_dma_heap_helper_read_file(const char *path, char *buffer, size_t size)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	loff_t position = 0;
	ssize_t length;

	if (IS_ERR(file))
		return PTR_ERR(file);
	length = kernel_read(file, buffer, size, &position);
	filp_close(file, NULL);
	return length;
}

/* Lockdep requires a lock class for each attribute that is not static. */
void rk_dma_heap_helper_sysfs_attr_init(struct attribute *attribute)
{
	sysfs_attr_init(attribute);
}
