// SPDX-License-Identifier: GPL-2.0
/*
 * The test allocator: a driver that allocates memory from the module, like drivers of cameras and
 * codecs. Test programs control it through /dev/rk_allocator. It is linked against the module and
 * uses the module's own header.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "allocator.h"

struct allocator_file {
	/* Held during every request. */
	struct mutex lock;
	struct xarray allocations;
	/* Pages to which the driver holds references, whoever has allocated them. */
	struct page *held;
	u64 held_pages;
};

/* Allocations that are freed when the driver is unloaded, and their lock. */
static DEFINE_MUTEX(kept_lock);
static LIST_HEAD(kept);

static int allocator_open(struct inode *inode, struct file *file)
{
	struct allocator_file *this = kzalloc(sizeof(*this), GFP_KERNEL);

	if (!this)
		return -ENOMEM;
	mutex_init(&this->lock);
	xa_init_flags(&this->allocations, XA_FLAGS_ALLOC1);
	file->private_data = this;
	return 0;
}

static int allocator_release(struct inode *inode, struct file *file)
{
	struct allocator_file *this = file->private_data;
	struct allocation *allocation;
	unsigned long handle;

	xa_for_each(&this->allocations, handle, allocation)
		allocation_destroy(allocation);
	xa_destroy(&this->allocations);
	if (this->held)
		put_page(this->held);
	mutex_destroy(&this->lock);
	kfree(this);
	return 0;
}

static int allocate(struct allocator_file *this, struct rk_allocator_request *request)
{
	struct allocation *allocation;
	int ret;

	request->heap[sizeof(request->heap) - 1] = '\0';
	request->name[sizeof(request->name) - 1] = '\0';
	allocation = allocation_create(request);
	if (IS_ERR_OR_NULL(allocation))
		return PTR_ERR_OR_ZERO(allocation);
	ret = xa_alloc(&this->allocations, &request->handle, allocation, xa_limit_31b, GFP_KERNEL);
	if (ret)
		allocation_destroy(allocation);
	return ret;
}

static int release(struct allocator_file *this, u32 handle)
{
	struct allocation *allocation = xa_erase(&this->allocations, handle);

	if (!allocation)
		return -ENOENT;
	allocation_destroy(allocation);
	return 0;
}

static int keep(struct allocator_file *this, u32 handle)
{
	struct allocation *allocation = xa_erase(&this->allocations, handle);

	if (!allocation)
		return -ENOENT;
	mutex_lock(&kept_lock);
	list_add(&allocation->kept, &kept);
	mutex_unlock(&kept_lock);
	return 0;
}

static int hold(struct allocator_file *this, const struct rk_allocator_hold *argument)
{
	if (this->held)
		return -EBUSY;
	this->held = pfn_to_page(PHYS_PFN(argument->address));
	this->held_pages = argument->pages;
	for (u64 i = 0; i < this->held_pages; i++)
		get_page(this->held + i);
	return 0;
}

static int let_go(struct allocator_file *this)
{
	if (!this->held)
		return -ENOENT;
	for (u64 i = 0; i < this->held_pages; i++)
		put_page(this->held + i);
	this->held = NULL;
	return 0;
}

static int allocator_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct allocator_file *this = file->private_data;

	guard(mutex)(&this->lock);
	if (!this->held)
		return -ENOENT;
	return vm_insert_page(vma, vma->vm_start, this->held);
}

/* All arguments; those for an allocation begin with its handle. */
union allocator_argument {
	u32 handle;
	struct rk_allocator_request request;
	struct rk_allocator_free free;
	struct rk_allocator_transfer transfer;
	struct rk_allocator_heap heap;
	struct rk_allocator_description description;
	struct rk_allocator_check check;
	struct rk_allocator_hold hold;
};

static int check(struct rk_allocator_check *check)
{
	check->heap[sizeof(check->heap) - 1] = '\0';
	switch (check->kind) {
	case RK_ALLOCATOR_CHECK_UNBOUND:
		return check_unbound_device();
	case RK_ALLOCATOR_CHECK_SINGLE_PAGES:
		return check_single_pages(check->heap, check->length, check->round);
	case RK_ALLOCATOR_CHECK_FRAMES:
		return check_frames(check->address, check->length);
	case RK_ALLOCATOR_CHECK_PUTS:
		return check_unbalanced_puts(check->heap);
	case RK_ALLOCATOR_CHECK_PASSING_HEAP:
		return own_heap_pass(check->heap);
	}
	return -EINVAL;
}

static int serve(struct allocator_file *this, unsigned int request,
		 union allocator_argument *argument)
{
	struct allocation *allocation;

	switch (request) {
	case RK_ALLOCATOR_ALLOCATE:
		return allocate(this, &argument->request);
	case RK_ALLOCATOR_KEEP:
		return keep(this, argument->handle);
	case RK_ALLOCATOR_HOLD:
		return hold(this, &argument->hold);
	case RK_ALLOCATOR_LET_GO:
		return let_go(this);
	case RK_ALLOCATOR_ADD_HEAP:
		argument->heap.name[sizeof(argument->heap.name) - 1] = '\0';
		return own_heap_add(&argument->heap);
	case RK_ALLOCATOR_REMOVE_HEAP:
		return own_heap_remove();
	case RK_ALLOCATOR_FORGET_HEAP:
		return own_heap_forget();
	case RK_ALLOCATOR_CHECK:
		return check(&argument->check);
	case RK_ALLOCATOR_DESCRIBE:
		argument->description.heap[sizeof(argument->description.heap) - 1] = '\0';
		return own_heap_describe(&argument->description);
	}

	allocation = xa_load(&this->allocations, argument->handle);
	if (!allocation)
		return -ENOENT;
	switch (request) {
	case RK_ALLOCATOR_FREE:
		if (argument->free.mistake == RK_ALLOCATOR_RIGHT)
			return release(this, argument->handle);
		return allocation_free_wrongly(allocation, argument->free.mistake);
	case RK_ALLOCATOR_EXPORT:
		return allocation_export(allocation);
	case RK_ALLOCATOR_TRANSFER:
		argument->transfer.device[sizeof(argument->transfer.device) - 1] = '\0';
		return allocation_transfer(allocation, &argument->transfer);
	case RK_ALLOCATOR_MAPPED:
		return allocation_mapped(allocation, &argument->transfer);
	}
	return -ENOTTY;
}

static long allocator_ioctl(struct file *file, unsigned int request, unsigned long address)
{
	struct allocator_file *this = file->private_data;
	void __user *user = (void __user *)address;
	union allocator_argument argument = {};
	int ret;

	if (_IOC_TYPE(request) != 'a' || _IOC_SIZE(request) > sizeof(argument))
		return -ENOTTY;
	if (copy_from_user(&argument, user, _IOC_SIZE(request)))
		return -EFAULT;
	mutex_lock(&this->lock);
	ret = serve(this, request, &argument);
	mutex_unlock(&this->lock);
	if (ret >= 0 && (_IOC_DIR(request) & _IOC_READ) &&
	    copy_to_user(user, &argument, _IOC_SIZE(request)))
		return -EFAULT;
	return ret;
}

static const struct file_operations allocator_file_operations = {
	.owner = THIS_MODULE,
	.open = allocator_open,
	.release = allocator_release,
	.unlocked_ioctl = allocator_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = allocator_mmap,
};

static struct miscdevice allocator_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "rk_allocator",
	.fops = &allocator_file_operations,
};

static int __init allocator_init(void)
{
	return misc_register(&allocator_device);
}

static void __exit allocator_exit(void)
{
	struct allocation *allocation, *next;

	misc_deregister(&allocator_device);
	own_heap_remove();
	list_for_each_entry_safe(allocation, next, &kept, kept)
		allocation_destroy(allocation);
}

module_init(allocator_init);
module_exit(allocator_exit);
MODULE_AUTHOR("The rk_dma_heap authors");
MODULE_DESCRIPTION("Allocates memory from heaps, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
