/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of bindgen for src/bindings.rs: the helpers, the constants below, and the functions in the
 * following list, which the kernel's own bindings lack. The bindings drop the prefix RK_ of the
 * constants.
 *
 * bindgen: cma_alloc
 * bindgen: cma_get_name
 * bindgen: cma_release
 * bindgen: vmap
 * bindgen: register_vmap_purge_notifier
 * bindgen: unregister_vmap_purge_notifier
 * bindgen: register_oom_notifier
 * bindgen: unregister_oom_notifier
 * bindgen: dev_get_cma_area
 * bindgen: dma_contiguous_get_area_by_idx
 * bindgen: dma_map_phys
 * bindgen: dma_unmap_phys
 * bindgen: iounmap
 * bindgen: vunmap
 * bindgen: dma_buf_attach
 * bindgen: dma_buf_detach
 * bindgen: dma_buf_fd_install
 * bindgen: dma_buf_map_attachment
 * bindgen: dma_buf_unmap_attachment_unlocked
 * bindgen: dma_heap_add
 * bindgen: dma_heap_get_drvdata
 * bindgen: for_each_kernel_tracepoint
 * bindgen: tracepoint_probe_register
 * bindgen: tracepoint_probe_unregister
 * bindgen: __fput_sync
 * bindgen: find_ge_pid
 * bindgen: find_vma
 * bindgen: get_pid_task
 * bindgen: kern_path
 * bindgen: register_kprobe
 * bindgen: unregister_kprobe
 * bindgen: proc_create_data
 * bindgen: seq_lseek
 * bindgen: seq_read
 * bindgen: single_open
 * bindgen: single_release
 * bindgen: proc_mkdir
 * bindgen: proc_remove
 */
#include <linux/cma.h>
#include <linux/dma-heap.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/mm_types.h>
#include <linux/namei.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/oom.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/tracepoint.h>
#include <linux/vmalloc.h>
#include <uapi/linux/dma-buf.h>

#include <linux/rk-dma-heap.h>

#include "helpers.h"

/* The maximum order to which cma_alloc() aligns a range. */
static const unsigned int RK_CMA_ALIGNMENT = CONFIG_CMA_ALIGNMENT;

/* The offset of the link field that the owner of a page may use. */
static const size_t RK_PAGE_LINK_OFFSET = offsetof(struct page, lru);

static const size_t RK_PAGE_REFCOUNT_OFFSET = offsetof(struct page, _refcount);

/* The order of the range that a huge (PMD) page table entry maps. */
static const unsigned int RK_PMD_ORDER = PMD_SHIFT - PAGE_SHIFT;

static const size_t RK_TASK_COMM_LEN = TASK_COMM_LEN;
static const unsigned int RK_KPROBE_FLAG_DISABLED = KPROBE_FLAG_DISABLED;

static const size_t RK_DMA_BUF_NAME_LEN = DMA_BUF_NAME_LEN;
static const unsigned long RK_VM_MAP = VM_MAP;

static const gfp_t RK_GFP_HIGHUSER = GFP_HIGHUSER;
static const gfp_t RK_GFP_USER = GFP_USER;
static const gfp_t RK_GFP_DMA32 = GFP_DMA32;
static const gfp_t RK_GFP_ZERO = __GFP_ZERO;
static const gfp_t RK_GFP_COMP = __GFP_COMP;
static const gfp_t RK_GFP_NOWARN = __GFP_NOWARN;
static const gfp_t RK_GFP_NOFAIL = __GFP_NOFAIL;
static const gfp_t RK_GFP_NORETRY = __GFP_NORETRY;
static const gfp_t RK_GFP_RETRY_MAYFAIL = __GFP_RETRY_MAYFAIL;
static const gfp_t RK_GFP_DIRECT_RECLAIM = __GFP_DIRECT_RECLAIM;
static const gfp_t RK_GFP_RECLAIM = __GFP_RECLAIM;

static const unsigned long RK_DMA_ATTR_SKIP_CPU_SYNC = DMA_ATTR_SKIP_CPU_SYNC;
