/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RK_ALLOCATOR_ANDROID_H
#define RK_ALLOCATOR_ANDROID_H

#include "allocator_uapi.h"

struct dma_buf;

/* Returns NULL if the result is a descriptor. */
struct dma_buf *android_buffer(struct rk_allocator_request *request);
void android_buffer_free(struct dma_buf *buffer);

#endif
