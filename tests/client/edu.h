/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RK_EDU_H
#define RK_EDU_H

#include <linux/completion.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>

#include "edu_uapi.h"

/* The device's own memory, in bytes: the most that it moves at a time. */
#define EDU_MEMORY_SIZE 4096

/* A device. */
struct edu {
	struct pci_dev *pci;
	void __iomem *registers;
	struct miscdevice misc;
	/* Held while the device moves bytes: it has one engine, and one memory. */
	struct mutex engine;
	/* Completed by the interrupt at the end of a move. */
	struct completion moved;
	/* The engine did not end a move in time, and is not used any more. */
	bool stuck;
	/*
	 * Where bytes come from and go to that the CPU gives to the device and gets from it.
	 * NULL if no memory is within reach of the device.
	 */
	void *page;
	dma_addr_t page_address;
};

extern const struct file_operations edu_file_operations;

/* Prepares the registers and the interrupt, which are released with the driver's resources. */
int edu_engine_init(struct edu *this);

/*
 * Lets the device access a range of the memory that is mapped for it. Sleeps. Fails with EINVAL if
 * the range is not inside of that memory, ENOMEM if the device reaches no memory at all, EFAULT,
 * EINTR if the process is killed, ETIMEDOUT if the device does not answer, and EIO afterwards.
 */
int edu_transfer(struct edu *this, struct sg_table *table, const struct rk_edu_transfer *request);

#endif
