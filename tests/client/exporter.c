// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf of the driver's own, whose reservation lock another thread acquires at the worst
 * moment: after an importer has looked, and before the core acquires the lock to attach it.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "client.h"

struct exported {
	struct dma_buf *buffer;
	struct page *page;
	unsigned int milliseconds;
	/* Whether the lock is still to be held. */
	atomic_t armed;
	struct work_struct work;
	struct completion held;
};

static void hold(struct work_struct *work)
{
	struct exported *this = container_of(work, struct exported, work);

	dma_resv_lock(this->buffer->resv, NULL);
	complete(&this->held);
	msleep(this->milliseconds);
	dma_resv_unlock(this->buffer->resv);
}

static int exporter_attach(struct dma_buf *buffer, struct dma_buf_attachment *attachment)
{
	struct exported *this = buffer->priv;

	if (atomic_xchg(&this->armed, 0)) {
		queue_work(system_dfl_wq, &this->work);
		wait_for_completion(&this->held);
	}
	return 0;
}

static struct sg_table *exporter_map(struct dma_buf_attachment *attachment,
				     enum dma_data_direction direction)
{
	struct exported *this = attachment->dmabuf->priv;
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	int ret;

	if (!table)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(table, 1, GFP_KERNEL);
	if (ret)
		goto no_table;
	sg_set_page(table->sgl, this->page, PAGE_SIZE, 0);
	ret = dma_map_sgtable(attachment->dev, table, direction, 0);
	if (!ret)
		return table;
	sg_free_table(table);
no_table:
	kfree(table);
	return ERR_PTR(ret);
}

static void exporter_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
			   enum dma_data_direction direction)
{
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	sg_free_table(table);
	kfree(table);
}

static void exporter_release(struct dma_buf *buffer)
{
	struct exported *this = buffer->priv;

	flush_work(&this->work);
	__free_page(this->page);
	kfree(this);
}

static const struct dma_buf_ops exporter_ops = {
	.attach = exporter_attach,
	.map_dma_buf = exporter_map,
	.unmap_dma_buf = exporter_unmap,
	.release = exporter_release,
};

int exporter_export(struct rk_client_export *request)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct exported *this = kzalloc(sizeof(*this), GFP_KERNEL);
	int ret = -ENOMEM;

	if (!this)
		return ret;
	this->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!this->page)
		goto no_page;
	this->milliseconds = request->milliseconds;
	atomic_set(&this->armed, request->milliseconds != 0);
	INIT_WORK(&this->work, hold);
	init_completion(&this->held);
	info.ops = &exporter_ops;
	info.size = PAGE_SIZE;
	info.flags = O_RDWR | O_CLOEXEC;
	info.priv = this;
	this->buffer = dma_buf_export(&info);
	if (IS_ERR(this->buffer)) {
		ret = PTR_ERR(this->buffer);
		goto not_exported;
	}
	ret = dma_buf_fd(this->buffer, O_RDWR | O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(this->buffer);
		return ret;
	}
	request->fd = ret;
	return 0;

not_exported:
	__free_page(this->page);
no_page:
	kfree(this);
	return ret;
}
