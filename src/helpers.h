/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wrappers of static inline functions and macros that the Rust code calls and that the kernel's own
 * helpers lack. The prefix avoids conflicts with symbols of the kernel. The bindings drop it.
 */
#ifndef RK_DMA_HEAP_HELPERS_H
#define RK_DMA_HEAP_HELPERS_H

#include <linux/dma-direction.h>
#include <linux/mm_types.h>
#include <linux/scatterlist.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct attribute;
struct cma;
struct device;
struct device_node;
struct dma_buf;
struct reserved_mem;
struct dentry;
struct dma_resv;
struct file;
struct inode;
struct module;
struct pid;
struct pt_regs;
struct seq_file;
struct task_struct;
struct ww_acquire_ctx;
struct kthread_delayed_work;
struct kthread_work;

unsigned long rk_dma_heap_helper_totalram_pages(void);
unsigned long rk_dma_heap_helper_ram_pages_below_4g(void);
bool rk_dma_heap_helper_free_pages_suffice(unsigned long wanted, bool above_high, bool highmem);
unsigned long rk_dma_heap_helper_obtainable_pages(void);
unsigned long rk_dma_heap_helper_kept_pages(void);
unsigned int rk_dma_heap_helper_nr_node_ids(void);
int rk_dma_heap_helper_page_node(const struct page *page);
void rk_dma_heap_helper_mod_reclaimable(int node, long pages);
bool rk_dma_heap_helper_fatal_signal_pending(void);

unsigned long rk_dma_heap_helper_page_to_pfn(const struct page *page);
struct page *rk_dma_heap_helper_pfn_to_page(unsigned long pfn);
void rk_dma_heap_helper_clear_pages(struct page *head, unsigned long count);
/* Zeroes pages, unless one is shared: then returns false. Does not sleep. */
bool rk_dma_heap_helper_clear_unshared_pages(unsigned long pfn, unsigned long count);
int rk_dma_heap_helper_exchange_own_nice(int nice);
void rk_dma_heap_helper_cond_resched(void);

unsigned long rk_dma_heap_helper_unshared_pages(const struct page *head, unsigned long count);

/*
 * Returns the number of page frames before the first one that is marked as failed. Accepts any page
 * frame number.
 */
unsigned long rk_dma_heap_helper_intact_pages(unsigned long pfn, unsigned long count);

/* The use of a page, as far as it concerns an allocation of its page frame. */
enum rk_dma_heap_page_use {
	/* Only for page frames of RAM: the head of a free block. */
	RK_PAGE_FREE,
	RK_PAGE_MOVABLE,
	RK_PAGE_PINNED,
	RK_PAGE_ALLOCATED,
};

enum rk_dma_heap_page_use rk_dma_heap_helper_page_use(unsigned long pfn, unsigned long end,
						      unsigned long wanted, unsigned long *count);

/*
 * Finds the zone of RAM with this index, from the highest one down, without those for movable pages
 * only. Returns NULL if there are fewer.
 */
const void *rk_dma_heap_helper_ram_zone(unsigned int index, unsigned long *start,
					unsigned long *end);
bool rk_dma_heap_helper_zone_is_highmem(const void *zone);
/*
 * Returns the number of pages that a zone of RAM can spare, free ones and those of the page cache,
 * for memory that has to be below 4 GiB or may be anywhere.
 */
unsigned long rk_dma_heap_helper_zone_spare_pages(void *zone, bool below_4g);
enum rk_dma_heap_page_use rk_dma_heap_helper_ram_page_use(const void *zone, unsigned long pfn,
							  unsigned long *count);
/* Returns the number of pages of a block that the page allocator isolates as a whole. */
unsigned long rk_dma_heap_helper_pageblock_pages(void);
/*
 * Allocates contiguous pages, each with a reference of its own, from the page allocator. Returns
 * NULL if it has no free block of that size. May sleep.
 */
struct page *rk_dma_heap_helper_alloc_pages_split(gfp_t gfp, unsigned long count);
/*
 * Allocates page frames of one zone, which exist. May sleep, and migrates pages of others. Reclaims
 * memory for them only if that is wanted.
 */
int rk_dma_heap_helper_alloc_contig_range(unsigned long pfn, unsigned long count, bool reclaim);
/* Returns whether two page frames, which exist, are of one zone. */
bool rk_dma_heap_helper_same_zone(unsigned long pfn, unsigned long other);
/* Drops the reference of the owner to each page. Does not sleep. */
void rk_dma_heap_helper_free_contig_range(unsigned long pfn, unsigned long count);

void rk_dma_heap_helper_sg_init_single(struct scatterlist *sg);
void rk_dma_heap_helper_sg_set_pfn(struct scatterlist *sg, unsigned long pfn, unsigned int len);

void rk_dma_heap_helper_sg_set_dma(struct scatterlist *sg, dma_addr_t address, unsigned int len);

void rk_dma_heap_helper_dma_sync_sgtable_for_cpu(struct device *dev, struct sg_table *table,
						 enum dma_data_direction direction);
void rk_dma_heap_helper_dma_sync_sgtable_for_device(struct device *dev, struct sg_table *table,
						    enum dma_data_direction direction);

void rk_dma_heap_helper_dma_sync_single_for_cpu(struct device *dev, dma_addr_t address, size_t size,
						enum dma_data_direction direction);
void rk_dma_heap_helper_dma_sync_single_for_device(struct device *dev, dma_addr_t address,
						   size_t size, enum dma_data_direction direction);

int rk_dma_heap_helper_dma_coerce_mask_and_coherent(struct device *dev, u64 mask);
bool rk_dma_heap_helper_dma_bounces(struct device *dev, phys_addr_t base, size_t size);
size_t rk_dma_heap_helper_dma_max_bounced_size(struct device *dev);
int rk_dma_heap_helper_register_pm_notifier(struct notifier_block *block);

void rk_dma_heap_helper_unregister_pm_notifier(struct notifier_block *block);

unsigned int rk_dma_heap_helper_lock_system_sleep(void);
void rk_dma_heap_helper_unlock_system_sleep(unsigned int flags);

int rk_dma_heap_helper_notifier_from_errno(int error);

bool rk_dma_heap_helper_dev_is_dma_coherent(struct device *dev);
/*
 * Returns whether the device may need a bounce buffer for some memory, or nothing is known of that.
 */
bool rk_dma_heap_helper_may_copy(struct device *dev);
/* Returns whether DMA operations of an architecture or a hypervisor map memory for the device. */
bool rk_dma_heap_helper_dma_unknown(struct device *dev);
bool rk_dma_heap_helper_within_module(unsigned long address, const struct module *module);
unsigned long rk_dma_heap_helper_spin_lock_irqsave(spinlock_t *lock);
void rk_dma_heap_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
void rk_dma_heap_helper_raw_spin_lock_init(raw_spinlock_t *lock, const char *name,
					   struct lock_class_key *key);
void rk_dma_heap_helper_raw_spin_lock(raw_spinlock_t *lock);
bool rk_dma_heap_helper_raw_spin_trylock(raw_spinlock_t *lock);
void rk_dma_heap_helper_raw_spin_unlock(raw_spinlock_t *lock);
void rk_dma_heap_helper_raw_spin_assert_is_held(raw_spinlock_t *lock);
/* Allocates zeroed memory that is never freed. */
void *rk_dma_heap_helper_kzalloc_forever(size_t size);
bool rk_dma_heap_helper_log_ratelimit(void);
void *rk_dma_heap_helper_kmalloc_small(size_t size);
char *rk_dma_heap_helper_kmalloc_name(gfp_t flags);
void rk_dma_heap_helper_current_comm(u64 *words);
int rk_dma_heap_helper_current_tgid(void);
void rk_dma_heap_helper_task_comm(struct task_struct *task, char *comm);
int rk_dma_heap_helper_pid_nr(struct pid *pid);
/*
 * Calls a function for the open files of a process from a descriptor on, with spin locks held.
 * Looks at a limited number of descriptors and increases the given one by it. Returns whether there
 * are more.
 */
bool rk_dma_heap_helper_visit_files(struct task_struct *process, unsigned int *descriptor,
				    void (*visit)(void *data, struct file *file), void *data);
/* Returns a reference to the memory of a process, or null if it has none. */
struct mm_struct *rk_dma_heap_helper_process_mm(struct task_struct *process);
/* Returns an error if a fatal signal arrives first. */
int rk_dma_heap_helper_mutex_lock_killable(struct mutex *lock);
int rk_dma_heap_helper_mmap_read_lock_killable(struct mm_struct *mm);
u64 rk_dma_heap_helper_dma_buf_inode(struct file *file);
int rk_dma_heap_helper_dma_mapping_error(struct device *dev, dma_addr_t address);

void *rk_dma_heap_helper_vmap_write_combined(struct page **pages, unsigned int count);
void *rk_dma_heap_helper_vmap_cached(struct page **pages, unsigned int count);
void *rk_dma_heap_helper_linear_address(unsigned long pfn, unsigned long count);
unsigned long rk_dma_heap_helper_vmalloc_pages(void);
void *rk_dma_heap_helper_ioremap_wc(phys_addr_t address, size_t size);
/*
 * Maps page frames without a struct page; vunmap() removes the mapping. Returns NULL if one of them
 * has one, if the kernel cannot map them with this protection, or without memory.
 */
void *rk_dma_heap_helper_vmap_frames(unsigned long pfn, unsigned int count, pgprot_t prot);
bool rk_dma_heap_helper_pfn_valid(unsigned long pfn);
void rk_dma_heap_helper_flush_kernel_vmap_range(void *address, int length);
void rk_dma_heap_helper_invalidate_kernel_vmap_range(void *address, int length);

/* All of these are inline without CONFIG_OF. */
struct device_node *rk_dma_heap_helper_of_node_get(struct device_node *node);
void rk_dma_heap_helper_of_node_put(struct device_node *node);
struct device_node *rk_dma_heap_helper_of_find_compatible_node(struct device_node *from,
							       const char *compatible);
bool rk_dma_heap_helper_of_device_is_available(const struct device_node *node);
struct reserved_mem *rk_dma_heap_helper_of_reserved_mem_lookup(struct device_node *node);
struct device_node *rk_dma_heap_helper_of_find_node_by_type(struct device_node *from,
							    const char *type);
/* Returns an entry of `reg` as a physical address, or false if the node has no such entry. */
bool rk_dma_heap_helper_of_reg(struct device_node *node, int index, u64 *base, u64 *size);
bool rk_dma_heap_helper_of_property_read_bool(const struct device_node *node, const char *name);
struct device_node *rk_dma_heap_helper_of_parse_phandle(const struct device_node *node,
							const char *name, int index);

bool rk_dma_heap_helper_efi_boot(void);
/* Returns whether the kernel uses no byte of the range as its RAM. */
bool rk_dma_heap_helper_system_ram_disjoint(phys_addr_t base, size_t size);
/*
 * Returns the entry of the EFI memory map that contains an address, or false if there is none or if
 * it is not memory.
 */
bool rk_dma_heap_helper_efi_memory_at(u64 address, u64 *base, u64 *size);

pgprot_t rk_dma_heap_helper_pgprot_writecombine(pgprot_t prot);
pgprot_t rk_dma_heap_helper_pgprot_dirty(pgprot_t prot);
void rk_dma_heap_helper_vm_flags_set(struct vm_area_struct *area, vm_flags_t flags);

int rk_dma_heap_helper_dma_resv_lock_interruptible(struct dma_resv *resv,
						   struct ww_acquire_ctx *context);
bool rk_dma_heap_helper_dma_resv_trylock(struct dma_resv *resv);
/* Returns the dentry of a dma-buf's file, to which the caller holds a reference. */
struct dentry *rk_dma_heap_helper_dma_buf_dentry(const struct dma_buf *dma_buf);
/* Acquires a reference, unless none is left. May acquire the spin lock of the dentry. */
bool rk_dma_heap_helper_dentry_get(struct dentry *dentry);
/*
 * Returns a new reference to the dentry of a dma-buf's inode, or NULL if the dentry has none left.
 * Acquires the spin locks of the inode and of the dentry.
 */
struct dentry *rk_dma_heap_helper_inode_dentry(struct inode *inode);
bool rk_dma_heap_helper_inode_has_dentry(const struct inode *inode);
/* Returns the number of references to a valid dma-buf's file, which may have been freed. */
long rk_dma_heap_helper_dma_buf_file_count(struct dma_buf *dma_buf);
/*
 * Returns a new reference to the file of a valid dma-buf with this inode, or NULL if the file has
 * no references left. The file may have been freed.
 */
struct file *rk_dma_heap_helper_get_dma_buf_file(struct dma_buf *dma_buf,
						 const struct inode *inode);
void rk_dma_heap_helper_hashed_pointer(u8 *digits, const void *pointer);
void rk_dma_heap_helper_tracepoint_synchronize_unregister(void);
/* These return a function for a tracepoint, whose type the compiler checks, as it is registered. */
void *rk_dma_heap_helper_dma_buf_export_probe(void (*probe)(void *data, struct dma_buf *dma_buf));
void *rk_dma_heap_helper_cma_alloc_start_probe(
	void (*probe)(void *data, const char *name, unsigned long pages, unsigned long available,
		      unsigned long total, unsigned int align));
void *rk_dma_heap_helper_cma_alloc_finish_probe(
	void (*probe)(void *data, const char *name, unsigned long pfn, const struct page *page,
		      unsigned long pages, unsigned int align, int error));
void *rk_dma_heap_helper_memory_failure_event_probe(void (*probe)(void *data, unsigned long pfn,
								  int type, int result));
/* The index is 0 or 1. */
unsigned long rk_dma_heap_helper_argument(struct pt_regs *registers, unsigned int index);
/*
 * Returns an argument of a traced function at its entry, or 0 without
 * CONFIG_DYNAMIC_FTRACE_WITH_ARGS. The pointer is a struct ftrace_regs.
 */
unsigned long rk_dma_heap_helper_traced_argument(void *registers, unsigned int index);
void *rk_dma_heap_helper_pde_data(const struct inode *inode);
bool rk_dma_heap_helper_reader_is_admin(struct seq_file *file);
bool rk_dma_heap_helper_reader_inspects_all(struct seq_file *file);
bool rk_dma_heap_helper_reader_inspects(struct seq_file *file, const struct file *other);
bool rk_dma_heap_helper_current_is_admin(void);
bool rk_dma_heap_helper_opened_for_writing(const struct file *file);
void rk_dma_heap_helper_sysfs_attr_init(struct attribute *attribute);
/* Returns a new directory in debugfs that contains a symbolic link, or NULL. */
struct dentry *rk_dma_heap_helper_debugfs_link(const char *directory, const char *name,
					       const char *target);
void rk_dma_heap_helper_debugfs_remove(struct dentry *directory);
/* Returns the number of bytes that were read from the start of a file, or an error. */
ssize_t rk_dma_heap_helper_read_file(const char *path, char *buffer, size_t size);

void rk_dma_heap_helper_kthread_init_delayed_work(struct kthread_delayed_work *work,
						  void (*function)(struct kthread_work *work));
unsigned long rk_dma_heap_helper_msecs_to_jiffies(unsigned int milliseconds);

/*
 * Functions that the kernel does not export. Each must be called only after its address was passed
 * to the function that begins with `found_`, which may sleep.
 */
void rk_dma_heap_helper_found_cma_get_base(void *address);
phys_addr_t rk_dma_heap_helper_cma_get_base(const struct cma *cma);
void rk_dma_heap_helper_found_cma_get_size(void *address);
unsigned long rk_dma_heap_helper_cma_get_size(const struct cma *cma);
void rk_dma_heap_helper_found_dma_buf_iter_begin(void *address);
struct dma_buf *rk_dma_heap_helper_dma_buf_iter_begin(void);
void rk_dma_heap_helper_found_dma_buf_iter_next(void *address);
struct dma_buf *rk_dma_heap_helper_dma_buf_iter_next(struct dma_buf *dma_buf);
void rk_dma_heap_helper_found_lru_add_drain_all(void *address);
void rk_dma_heap_helper_lru_add_drain_all(void);
void rk_dma_heap_helper_found_pm_sleep_transition_in_progress(void *address);
bool rk_dma_heap_helper_pm_sleep_transition_in_progress(void);
void rk_dma_heap_helper_found___module_address(void *address);
struct module *rk_dma_heap_helper___module_address(unsigned long address);
void rk_dma_heap_helper_found___memcg_kmem_charge_page(void *address);
int rk_dma_heap_helper___memcg_kmem_charge_page(struct page *page, gfp_t gfp, int order);
void rk_dma_heap_helper_found___memcg_kmem_uncharge_page(void *address);
void rk_dma_heap_helper___memcg_kmem_uncharge_page(struct page *page, int order);

void rk_dma_heap_helper_trace_allocate(const char *heap, unsigned long bytes);
void rk_dma_heap_helper_trace_free(const char *heap, unsigned long bytes);
void rk_dma_heap_helper_trace_pool_hit(const char *heap, unsigned int order, unsigned long runs);
void rk_dma_heap_helper_trace_pool_miss(const char *heap, unsigned int order, unsigned long runs);
void rk_dma_heap_helper_trace_deferred_free(const char *heap, unsigned long pages);
void rk_dma_heap_helper_trace_shrink(const char *heap, unsigned long wanted, unsigned long freed);

#endif
