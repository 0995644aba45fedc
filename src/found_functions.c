// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of kernel functions that are not exported. src/abstractions/kernel_symbol.rs finds their
 * addresses when the module is loaded.
 *
 * On x86 such a function must not be called through a pointer. A kprobe lies behind the ENDBR at
 * the function's entry, and the kernel overwrites the ENDBR of each function that it calls directly
 * only. With IBT either one ends in a control protection fault. So each function has a static call:
 * the kernel's patch of the instruction makes it a direct call, which needs no ENDBR. Without
 * HAVE_STATIC_CALL a static call is one through a pointer, with the type that the kernel declares.
 */

#include <linux/cma.h>
#include <linux/dma-buf.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/static_call.h>
#include <linux/suspend.h>
#include <linux/swap.h>

#include "helpers.h"

#if defined(CONFIG_X86_KERNEL_IBT) && !defined(CONFIG_HAVE_STATIC_CALL)
#error "functions would be called through pointers"
#endif

/*
 * Defines a function that takes the address of `name`, and one that calls it there. The former may
 * sleep, and must be called first.
 */
#define FOUND_FUNCTION(result, name, parameters, arguments)                                        \
	DEFINE_STATIC_CALL_NULL(rk_dma_heap_##name, name);                                         \
                                                                                                   \
	void rk_dma_heap_helper_found_##name(void *address)                                        \
	{                                                                                          \
		static_call_update(rk_dma_heap_##name, (typeof(&name))address);                    \
	}                                                                                          \
                                                                                                   \
	result rk_dma_heap_helper_##name parameters                                                \
	{                                                                                          \
		return static_call(rk_dma_heap_##name) arguments;                                  \
	}

FOUND_FUNCTION(phys_addr_t, cma_get_base, (const struct cma *cma), (cma))
FOUND_FUNCTION(unsigned long, cma_get_size, (const struct cma *cma), (cma))
FOUND_FUNCTION(struct dma_buf *, dma_buf_iter_begin, (void), ())
FOUND_FUNCTION(struct dma_buf *, dma_buf_iter_next, (struct dma_buf * dma_buf), (dma_buf))
FOUND_FUNCTION(void, lru_add_drain_all, (void), ())
FOUND_FUNCTION(bool, pm_sleep_transition_in_progress, (void), ())
FOUND_FUNCTION(struct module *, __module_address, (unsigned long address), (address))
FOUND_FUNCTION(int, __memcg_kmem_charge_page, (struct page * page, gfp_t gfp, int order),
	       (page, gfp, order))
FOUND_FUNCTION(void, __memcg_kmem_uncharge_page, (struct page * page, int order), (page, order))
