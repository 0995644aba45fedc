/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints in /sys/kernel/tracing/events/rk_dma_heap. Sizes are in bytes unless the name of the
 * field is "pages".
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rk_dma_heap

#if !defined(RK_DMA_HEAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RK_DMA_HEAP_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(rk_dma_heap_buffer,
	TP_PROTO(const char *heap, unsigned long bytes),
	TP_ARGS(heap, bytes),
	TP_STRUCT__entry(
		__string(heap, heap)
		__field(unsigned long, bytes)
	),
	TP_fast_assign(
		__assign_str(heap);
		__entry->bytes = bytes;
	),
	TP_printk("heap=%s bytes=%lu", __get_str(heap), __entry->bytes)
);

DEFINE_EVENT(rk_dma_heap_buffer, rk_dma_heap_allocate,
	TP_PROTO(const char *heap, unsigned long bytes),
	TP_ARGS(heap, bytes)
);

DEFINE_EVENT(rk_dma_heap_buffer, rk_dma_heap_free,
	TP_PROTO(const char *heap, unsigned long bytes),
	TP_ARGS(heap, bytes)
);

DECLARE_EVENT_CLASS(rk_dma_heap_runs,
	TP_PROTO(const char *heap, unsigned int order, unsigned long runs),
	TP_ARGS(heap, order, runs),
	TP_STRUCT__entry(
		__string(heap, heap)
		__field(unsigned int, order)
		__field(unsigned long, runs)
	),
	TP_fast_assign(
		__assign_str(heap);
		__entry->order = order;
		__entry->runs = runs;
	),
	TP_printk("heap=%s order=%u runs=%lu", __get_str(heap), __entry->order, __entry->runs)
);

DEFINE_EVENT(rk_dma_heap_runs, rk_dma_heap_pool_hit,
	TP_PROTO(const char *heap, unsigned int order, unsigned long runs),
	TP_ARGS(heap, order, runs)
);

DEFINE_EVENT(rk_dma_heap_runs, rk_dma_heap_pool_miss,
	TP_PROTO(const char *heap, unsigned int order, unsigned long runs),
	TP_ARGS(heap, order, runs)
);

TRACE_EVENT(rk_dma_heap_deferred_free,
	TP_PROTO(const char *heap, unsigned long pages),
	TP_ARGS(heap, pages),
	TP_STRUCT__entry(
		__string(heap, heap)
		__field(unsigned long, pages)
	),
	TP_fast_assign(
		__assign_str(heap);
		__entry->pages = pages;
	),
	TP_printk("heap=%s pages=%lu", __get_str(heap), __entry->pages)
);

TRACE_EVENT(rk_dma_heap_shrink,
	TP_PROTO(const char *heap, unsigned long wanted, unsigned long freed),
	TP_ARGS(heap, wanted, freed),
	TP_STRUCT__entry(
		__string(heap, heap)
		__field(unsigned long, wanted)
		__field(unsigned long, freed)
	),
	TP_fast_assign(
		__assign_str(heap);
		__entry->wanted = wanted;
		__entry->freed = freed;
	),
	TP_printk("heap=%s wanted=%lu freed=%lu pages", __get_str(heap), __entry->wanted,
		  __entry->freed)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE rk_dma_heap_trace
#include <trace/define_trace.h>
