// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>

#define CREATE_TRACE_POINTS
#include "rk_dma_heap_trace.h"

#include "helpers.h"

void rk_dma_heap_helper_trace_allocate(const char *heap, unsigned long bytes)
{
	trace_rk_dma_heap_allocate(heap, bytes);
}

void rk_dma_heap_helper_trace_free(const char *heap, unsigned long bytes)
{
	trace_rk_dma_heap_free(heap, bytes);
}

void rk_dma_heap_helper_trace_pool_hit(const char *heap, unsigned int order, unsigned long runs)
{
	trace_rk_dma_heap_pool_hit(heap, order, runs);
}

void rk_dma_heap_helper_trace_pool_miss(const char *heap, unsigned int order, unsigned long runs)
{
	trace_rk_dma_heap_pool_miss(heap, order, runs);
}

void rk_dma_heap_helper_trace_deferred_free(const char *heap, unsigned long pages)
{
	trace_rk_dma_heap_deferred_free(heap, pages);
}

void rk_dma_heap_helper_trace_shrink(const char *heap, unsigned long wanted, unsigned long freed)
{
	trace_rk_dma_heap_shrink(heap, wanted, freed);
}
