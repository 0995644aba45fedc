// SPDX-License-Identifier: GPL-2.0
/*
 * The DMA engine of QEMU's device `edu`. It moves bytes between memory and a small memory of its
 * own, which only the engine can access, and raises an interrupt a tenth of a second later.
 */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "edu.h"

/* Registers. */
#define EDU_IDENTIFICATION   0x00
#define EDU_LIVENESS	     0x04
#define EDU_INTERRUPT_STATUS 0x24
#define EDU_INTERRUPT_END    0x64
#define EDU_DMA_SOURCE	     0x80
#define EDU_DMA_TARGET	     0x88
#define EDU_DMA_COUNT	     0x90
#define EDU_DMA_COMMAND	     0x98

/* Bits of EDU_DMA_COMMAND. The device clears the first one when it is done. */
#define EDU_DMA_START	    BIT(0)
#define EDU_DMA_FROM_DEVICE BIT(1)
#define EDU_DMA_INTERRUPT   BIT(2)

/* Where the device's own memory is for its engine. */
#define EDU_MEMORY 0x40000

static irqreturn_t edu_interrupt(int irq, void *data)
{
	struct edu *this = data;
	u32 status = readl(this->registers + EDU_INTERRUPT_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, this->registers + EDU_INTERRUPT_END);
	complete(&this->moved);
	return IRQ_HANDLED;
}

int edu_engine_init(struct edu *this)
{
	struct device *dev = &this->pci->dev;
	int ret;

	this->registers = pcim_iomap_region(this->pci, 0, "rk_edu");
	if (IS_ERR(this->registers))
		return PTR_ERR(this->registers);
	/* Major and minor version in the upper half, which is not looked at. */
	if ((readl(this->registers + EDU_IDENTIFICATION) & 0xffff) != 0x00ed)
		return -ENODEV;
	/* Reads as the inverse of what was written. */
	writel(0x1234, this->registers + EDU_LIVENESS);
	if (readl(this->registers + EDU_LIVENESS) != ~0x1234u)
		return -EIO;

	init_completion(&this->moved);
	ret = pci_alloc_irq_vectors(this->pci, 1, 1, PCI_IRQ_MSI | PCI_IRQ_INTX);
	if (ret < 0)
		return ret;
	return devm_request_irq(dev, pci_irq_vector(this->pci, 0), edu_interrupt, IRQF_SHARED,
				"rk_edu", this);
}

/* Registers for DMA are written as a whole. */
static void write_dma(struct edu *this, unsigned int reg, u64 value)
{
#ifdef CONFIG_64BIT
	writeq(value, this->registers + reg);
#else
	writel(value, this->registers + reg);
#endif
}

/*
 * Moves up to EDU_MEMORY_SIZE bytes between memory and the device. The wait cannot be interrupted:
 * the memory must stay until the device is done.
 */
static int move(struct edu *this, dma_addr_t address, size_t length,
		enum dma_data_direction direction)
{
	bool from_device = direction == DMA_FROM_DEVICE;
	u32 command = EDU_DMA_START | EDU_DMA_INTERRUPT;

	reinit_completion(&this->moved);
	write_dma(this, EDU_DMA_SOURCE, from_device ? EDU_MEMORY : address);
	write_dma(this, EDU_DMA_TARGET, from_device ? address : EDU_MEMORY);
	write_dma(this, EDU_DMA_COUNT, length);
	write_dma(this, EDU_DMA_COMMAND, command | (from_device ? EDU_DMA_FROM_DEVICE : 0));
	if (wait_for_completion_timeout(&this->moved, 10 * HZ) &&
	    !(readl(this->registers + EDU_DMA_COMMAND) & EDU_DMA_START))
		return 0;
	/* It must not access memory that somebody else has by then. */
	pci_clear_master(this->pci);
	this->stuck = true;
	return -ETIMEDOUT;
}

/* Lets the device access up to EDU_MEMORY_SIZE bytes of memory. */
static int access_piece(struct edu *this, dma_addr_t address, size_t length, u32 direction,
			void __user *data)
{
	int ret;

	if (direction == DMA_TO_DEVICE) {
		/* What is there from before is no result of this access. */
		memset(this->page, 0xdb, length);
		ret = move(this, address, length, DMA_TO_DEVICE);
		ret = ret ?: move(this, this->page_address, length, DMA_FROM_DEVICE);
		if (!ret && copy_to_user(data, this->page, length))
			ret = -EFAULT;
		return ret;
	}
	if (copy_from_user(this->page, data, length))
		return -EFAULT;
	ret = move(this, this->page_address, length, DMA_TO_DEVICE);
	return ret ?: move(this, address, length, DMA_FROM_DEVICE);
}

static u64 mapped_length(struct sg_table *table)
{
	struct scatterlist *sg;
	u64 length = 0;
	int i;

	for_each_sgtable_dma_sg(table, sg, i)
		length += sg_dma_len(sg);
	return length;
}

int edu_transfer(struct edu *this, struct sg_table *table, const struct rk_edu_transfer *request)
{
	u64 length = mapped_length(table), skip = request->offset, done = 0;
	struct scatterlist *sg;
	int ret = 0, i;

	if (request->direction != DMA_TO_DEVICE && request->direction != DMA_FROM_DEVICE)
		return -EINVAL;
	if (skip > length || request->length > length - skip)
		return -EINVAL;
	if (!this->page)
		return -ENOMEM;
	guard(mutex)(&this->engine);
	for_each_sgtable_dma_sg(table, sg, i) {
		u64 begin = min_t(u64, skip, sg_dma_len(sg));

		skip -= begin;
		while (begin < sg_dma_len(sg) && done < request->length) {
			size_t piece = min3(sg_dma_len(sg) - begin, request->length - done,
					    (u64)EDU_MEMORY_SIZE);

			if (fatal_signal_pending(current))
				return -EINTR;
			if (this->stuck)
				return -EIO;
			ret = access_piece(this, sg_dma_address(sg) + begin, piece,
					   request->direction,
					   u64_to_user_ptr(request->data + done));
			if (ret)
				return ret;
			begin += piece;
			done += piece;
		}
	}
	return 0;
}
