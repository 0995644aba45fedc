// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for QEMU's PCI device `edu`, which has a DMA engine. Test programs attach dma-bufs to a
 * device and let it read and write them, through /dev/rk_edu/ADDRESS.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "edu.h"

/* The device does not tell how many it has. */
static unsigned int dma_bits = 28;
module_param(dma_bits, uint, 0444);
MODULE_PARM_DESC(dma_bits, "Number of DMA address bits of the devices (default 28)");

static bool snoops = true;
module_param(snoops, bool, 0444);
MODULE_PARM_DESC(snoops, "The devices snoop CPU caches if the firmware says so (default true)");

/* A dma-buf attached to a device. Protected by the lock of the open file that it belongs to. */
struct import {
	struct dma_buf *buffer;
	struct dma_buf_attachment *attachment;
	/* NULL if not mapped. */
	struct sg_table *table;
	enum dma_data_direction direction;
};

struct edu_file {
	struct edu *edu;
	/* Held during every request. */
	struct mutex lock;
	struct xarray imports;
};

static int edu_open(struct inode *inode, struct file *file)
{
	struct miscdevice *misc = file->private_data;
	struct edu_file *this = kzalloc(sizeof(*this), GFP_KERNEL);

	if (!this)
		return -ENOMEM;
	this->edu = container_of(misc, struct edu, misc);
	mutex_init(&this->lock);
	xa_init_flags(&this->imports, XA_FLAGS_ALLOC1);
	file->private_data = this;
	return 0;
}

static int import_unmap(struct import *this)
{
	if (!this->table)
		return -EINVAL;
	dma_buf_unmap_attachment_unlocked(this->attachment, this->table, this->direction);
	this->table = NULL;
	return 0;
}

static void import_destroy(struct import *this)
{
	import_unmap(this);
	dma_buf_detach(this->buffer, this->attachment);
	dma_buf_put(this->buffer);
	kfree(this);
}

static int edu_release(struct inode *inode, struct file *file)
{
	struct edu_file *this = file->private_data;
	struct import *import;
	unsigned long handle;

	xa_for_each(&this->imports, handle, import)
		import_destroy(import);
	xa_destroy(&this->imports);
	mutex_destroy(&this->lock);
	kfree(this);
	return 0;
}

static struct import *import_create(struct edu *edu, int fd)
{
	struct import *this = kzalloc(sizeof(*this), GFP_KERNEL);
	int ret;

	if (!this)
		return ERR_PTR(-ENOMEM);
	this->buffer = dma_buf_get(fd);
	if (IS_ERR(this->buffer)) {
		ret = PTR_ERR(this->buffer);
		goto no_buffer;
	}
	this->attachment = dma_buf_attach(this->buffer, &edu->pci->dev);
	if (IS_ERR(this->attachment)) {
		ret = PTR_ERR(this->attachment);
		goto not_attached;
	}
	return this;

not_attached:
	dma_buf_put(this->buffer);
no_buffer:
	kfree(this);
	return ERR_PTR(ret);
}

static int attach(struct edu_file *this, struct rk_edu_attach *request)
{
	struct import *import = import_create(this->edu, request->fd);
	int ret;

	if (IS_ERR(import))
		return PTR_ERR(import);
	ret = xa_alloc(&this->imports, &request->handle, import, xa_limit_31b, GFP_KERNEL);
	if (ret)
		import_destroy(import);
	return ret;
}

static int detach(struct edu_file *this, u32 handle)
{
	struct import *import = xa_erase(&this->imports, handle);

	if (!import)
		return -ENOENT;
	import_destroy(import);
	return 0;
}

static int import_map(struct import *this, u32 direction)
{
	struct sg_table *table;

	if (direction > DMA_FROM_DEVICE)
		return -EINVAL;
	if (this->table)
		return -EBUSY;
	table = dma_buf_map_attachment_unlocked(this->attachment, direction);
	if (IS_ERR(table))
		return PTR_ERR(table);
	this->table = table;
	this->direction = direction;
	return 0;
}

/* All arguments; those for an import begin with its handle. */
union edu_argument {
	u32 handle;
	struct rk_edu_attach attach;
	struct rk_edu_map map;
	struct rk_edu_transfer transfer;
};

static int serve(struct edu_file *this, unsigned int request, union edu_argument *argument)
{
	struct import *import;

	if (request == RK_EDU_ATTACH)
		return attach(this, &argument->attach);
	if (request == RK_EDU_DETACH)
		return detach(this, argument->handle);

	import = xa_load(&this->imports, argument->handle);
	if (!import)
		return -ENOENT;
	switch (request) {
	case RK_EDU_MAP:
		return import_map(import, argument->map.direction);
	case RK_EDU_UNMAP:
		return import_unmap(import);
	case RK_EDU_TRANSFER:
		if (!import->table)
			return -EINVAL;
		return edu_transfer(this->edu, import->table, &argument->transfer);
	}
	return -ENOTTY;
}

static long edu_ioctl(struct file *file, unsigned int request, unsigned long address)
{
	struct edu_file *this = file->private_data;
	void __user *user = (void __user *)address;
	union edu_argument argument = {};
	int ret;

	if (_IOC_TYPE(request) != 'e' || _IOC_SIZE(request) > sizeof(argument))
		return -ENOTTY;
	if (copy_from_user(&argument, user, _IOC_SIZE(request)))
		return -EFAULT;

	guard(mutex)(&this->lock);
	ret = serve(this, request, &argument);
	/* The caller does not know the handle, so it must not stay until the file is closed. */
	if (!ret && request == RK_EDU_ATTACH &&
	    copy_to_user(user, &argument, sizeof(argument.attach))) {
		detach(this, argument.attach.handle);
		ret = -EFAULT;
	}
	return ret;
}

const struct file_operations edu_file_operations = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static int ignore_caches(struct device *dev)
{
	if (!IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_DEVICE))
		return -EOPNOTSUPP;
	/* The bus sets this anew before each probe. */
	dev_clear_dma_coherent(dev);
	return 0;
}

/*
 * A driver gives up if the kernel has no memory within reach of a device. This one does not: it is
 * the exporter that has to refuse to map a buffer then.
 */
static void set_mask(struct device *dev, u64 mask)
{
	if (!dma_set_mask_and_coherent(dev, mask))
		return;
	*dev->dma_mask = mask;
	dev->coherent_dma_mask = mask;
}

static int edu_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct device *dev = &pci->dev;
	struct edu *this = devm_kzalloc(dev, sizeof(*this), GFP_KERNEL);
	int ret;

	if (!this)
		return -ENOMEM;
	this->pci = pci;
	ret = devm_mutex_init(dev, &this->engine);
	ret = ret ?: pcim_enable_device(pci);
	if (ret)
		return ret;
	if (!snoops) {
		ret = ignore_caches(dev);
		if (ret)
			return dev_err_probe(dev, ret, "snoops=0 is not supported\n");
	}
	set_mask(dev, DMA_BIT_MASK(dma_bits));
	pci_set_master(pci);
	ret = edu_engine_init(this);
	if (ret)
		return dev_err_probe(dev, ret, "the device does not work\n");
	this->page = dmam_alloc_attrs(dev, EDU_MEMORY_SIZE, &this->page_address, GFP_KERNEL,
				      DMA_ATTR_NO_WARN);

	this->misc.minor = MISC_DYNAMIC_MINOR;
	this->misc.name = devm_kasprintf(dev, GFP_KERNEL, "rk_edu-%s", pci_name(pci));
	this->misc.nodename = devm_kasprintf(dev, GFP_KERNEL, "rk_edu/%s", pci_name(pci));
	if (!this->misc.name || !this->misc.nodename)
		return -ENOMEM;
	this->misc.fops = &edu_file_operations;
	this->misc.parent = dev;
	pci_set_drvdata(pci, this);
	return misc_register(&this->misc);
}

/* No file is open: open files pin the module, and bind attributes are suppressed. */
static void edu_remove(struct pci_dev *pci)
{
	struct edu *this = pci_get_drvdata(pci);

	misc_deregister(&this->misc);
}

static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, {} };
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "rk-edu",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	.driver = {
		.suppress_bind_attrs = true,
	},
};

static int __init edu_init(void)
{
	unsigned int most = IS_ENABLED(CONFIG_64BIT) ? 64 : 32;

	if (dma_bits < 24 || dma_bits > most) {
		pr_err("rk_edu: dma_bits=%u: must be 24 to %u\n", dma_bits, most);
		return -EINVAL;
	}
	return pci_register_driver(&edu_driver);
}

static void __exit edu_exit(void)
{
	pci_unregister_driver(&edu_driver);
}

module_init(edu_init);
module_exit(edu_exit);
MODULE_AUTHOR("The rk_dma_heap authors");
MODULE_DESCRIPTION("Devices with a DMA engine that access dma-bufs, for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
