// SPDX-License-Identifier: GPL-2.0
/*
 * An open device: its handles and their requests.
 */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "client.h"

struct client_file {
	struct client *client;
	/* Held during every request. */
	struct mutex lock;
	struct xarray attachments;
	/* Mappings that only take address space. */
	struct xarray occupied;
};

static int client_open(struct inode *inode, struct file *file)
{
	struct miscdevice *misc = file->private_data;
	struct client_file *this = kzalloc(sizeof(*this), GFP_KERNEL);

	if (!this)
		return -ENOMEM;
	this->client = container_of(misc, struct client, misc);
	mutex_init(&this->lock);
	xa_init_flags(&this->attachments, XA_FLAGS_ALLOC1);
	xa_init_flags(&this->occupied, XA_FLAGS_ALLOC1);
	file->private_data = this;
	return 0;
}

static int client_release(struct inode *inode, struct file *file)
{
	struct client_file *this = file->private_data;
	struct attachment *attachment;
	unsigned long handle;

	xa_for_each(&this->attachments, handle, attachment)
		attachment_destroy(attachment);
	xa_destroy(&this->attachments);
	occupy_end(&this->occupied);
	mutex_destroy(&this->lock);
	kfree(this);
	return 0;
}

static int client_attach(struct client_file *this, struct rk_client_attach *request)
{
	struct attachment *attachment = attachment_create(this->client, request->fd);
	int ret;

	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	ret = xa_alloc(&this->attachments, &request->handle, attachment, xa_limit_31b, GFP_KERNEL);
	if (ret)
		attachment_destroy(attachment);
	return ret;
}

static int client_detach(struct client_file *this, u32 handle)
{
	struct attachment *attachment = xa_erase(&this->attachments, handle);

	if (!attachment)
		return -ENOENT;
	attachment_destroy(attachment);
	return 0;
}

static int client_coherent(struct client *client, u64 length)
{
	dma_addr_t address;
	void *memory;

	if (length > SIZE_MAX)
		return -EINVAL;
	memory = dma_alloc_attrs(client->dev, length, &address, GFP_KERNEL, DMA_ATTR_NO_WARN);
	if (!memory)
		return -ENOMEM;
	dma_free_attrs(client->dev, length, memory, address, DMA_ATTR_NO_WARN);
	return 0;
}

static int client_low(struct rk_client_low *request)
{
	const gfp_t flags = GFP_KERNEL | __GFP_DMA32 | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct page *page, *next;
	LIST_HEAD(pages);

	while (!fatal_signal_pending(current) && (page = alloc_page(flags))) {
		list_add(&page->lru, &pages);
		request->count++;
		cond_resched();
	}
	list_for_each_entry_safe(page, next, &pages, lru) {
		__free_page(page);
		cond_resched();
	}
	return 0;
}

/* All arguments; those for an attachment begin with its handle. */
union client_argument {
	u32 handle;
	struct rk_client_attach attach;
	struct rk_client_transfer transfer;
	struct rk_client_hold hold;
	struct rk_client_segments segments;
	struct rk_client_access access;
	struct rk_client_type_query type_query;
	struct rk_client_coherent coherent;
	struct rk_client_occupy occupy;
	struct rk_client_low low;
	struct rk_client_late_calls late_calls;
	struct rk_client_follow follow;
	struct rk_client_export export;
	struct rk_client_fail fail;
};

static int client_request(struct client_file *this, unsigned int request,
			  union client_argument *argument)
{
	struct attachment *attachment;

	if (request == RK_CLIENT_ATTACH)
		return client_attach(this, &argument->attach);
	if (request == RK_CLIENT_DETACH)
		return client_detach(this, argument->handle);
	if (request == RK_CLIENT_MEMORY_TYPE && argument->type_query.view == RK_CLIENT_USER)
		return memory_type_query(NULL, &argument->type_query);
	if (request == RK_CLIENT_COHERENT)
		return client_coherent(this->client, argument->coherent.length);
	if (request == RK_CLIENT_OCCUPY)
		return occupy(&this->occupied, argument->occupy.length);
	if (request == RK_CLIENT_LOW)
		return client_low(&argument->low);
	if (request == RK_CLIENT_EXPORT)
		return exporter_export(&argument->export);
	if (request == RK_CLIENT_FAIL)
		return page_fail(&argument->fail);
	if (request == RK_CLIENT_FOLLOW)
		return mapping_follow(&argument->follow);
	if (request == RK_CLIENT_LATE_CALLS) {
		argument->late_calls.count = mapping_late_calls();
		return 0;
	}

	attachment = xa_load(&this->attachments, argument->handle);
	if (!attachment)
		return -ENOENT;
	switch (request) {
	case RK_CLIENT_LEAVE:
		xa_erase(&this->attachments, argument->handle);
		attachment_leave(attachment);
		return 0;
	case RK_CLIENT_MAP:
		return attachment_map(attachment, argument->transfer.direction);
	case RK_CLIENT_UNMAP:
		return attachment_unmap(attachment);
	case RK_CLIENT_SEGMENTS:
		return attachment_segments(attachment, &argument->segments);
	case RK_CLIENT_ACCESS:
		return attachment_access(attachment, &argument->access);
	case RK_CLIENT_VMAP:
		return attachment_vmap(attachment);
	case RK_CLIENT_VUNMAP:
		return attachment_vunmap(attachment);
	case RK_CLIENT_BEGIN:
		return dma_buf_begin_cpu_access(attachment->buffer, argument->transfer.direction);
	case RK_CLIENT_END:
		return dma_buf_end_cpu_access(attachment->buffer, argument->transfer.direction);
	case RK_CLIENT_HOLD:
		dma_resv_lock(attachment->buffer->resv, NULL);
		msleep_interruptible(argument->hold.milliseconds);
		dma_resv_unlock(attachment->buffer->resv);
		return 0;
	case RK_CLIENT_MEMORY_TYPE:
		return memory_type_query(attachment, &argument->type_query);
	}
	return -ENOTTY;
}

static long client_ioctl(struct file *file, unsigned int request, unsigned long address)
{
	struct client_file *this = file->private_data;
	void __user *user = (void __user *)address;
	union client_argument argument = {};
	int ret;

	if (_IOC_TYPE(request) != 'r' || _IOC_SIZE(request) > sizeof(argument))
		return -ENOTTY;
	if (copy_from_user(&argument, user, _IOC_SIZE(request)))
		return -EFAULT;

	mutex_lock(&this->lock);
	ret = client_request(this, request, &argument);
	/* The caller does not know the handle, so it must not stay until the file is closed. */
	if (!ret && (_IOC_DIR(request) & _IOC_READ) &&
	    copy_to_user(user, &argument, _IOC_SIZE(request))) {
		if (request == RK_CLIENT_ATTACH)
			client_detach(this, argument.attach.handle);
		ret = -EFAULT;
	}
	mutex_unlock(&this->lock);
	return ret;
}

static int client_mmap(struct file *file, struct vm_area_struct *area)
{
	struct client_file *this = file->private_data;
	struct attachment *attachment;
	int ret = -ENOENT;

	/* A request may access memory of its process, so the locks have no fixed order. */
	if (!mutex_trylock(&this->lock))
		return -EBUSY;
	attachment = xa_load(&this->attachments, area->vm_pgoff);
	if (attachment)
		ret = attachment_mmap(attachment, area);
	mutex_unlock(&this->lock);
	return ret;
}

const struct file_operations client_file_operations = {
	.owner = THIS_MODULE,
	.open = client_open,
	.release = client_release,
	.unlocked_ioctl = client_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = client_mmap,
};
