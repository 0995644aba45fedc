// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF iterator over all dma-bufs of the system. It writes a record for each of them.
 *
 * The structures have only the members that are read. Their offsets are those of the running
 * kernel, which the loader finds in its type information.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#define LATER	      __attribute__((preserve_access_index))
#define SECTION(name) __attribute__((section(name), used))

struct inode {
	unsigned long i_ino;
} LATER;

struct file {
	struct inode *f_inode;
} LATER;

struct dma_buf {
	unsigned long size;
	struct file *file;
	const char *exp_name;
	const char *name;
} LATER;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} LATER;

/* The argument of the program: pointers take 64 bits on each architecture. */
struct bpf_iter__dmabuf {
	struct bpf_iter_meta *meta;
	struct dma_buf *dmabuf;
};

/* parse/records.rs has the same layout. */
struct record {
	__u64 inode;
	__u64 size;
	char exporter[64];
	char name[32];
};

static long (*const seq_write)(struct seq_file *seq, const void *data,
			       __u32 size) = (void *)BPF_FUNC_seq_write;
static long (*const read_kernel_string)(void *to, __u32 size,
					const void *from) = (void *)BPF_FUNC_probe_read_kernel_str;

/* The crate that parses this knows no sections of iterators. The loader says what it is. */
SECTION("tp_btf/bpf_iter_dmabuf")
int dma_bufs(struct bpf_iter__dmabuf *context)
{
	struct dma_buf *buffer = context->dmabuf;
	struct record record = {};

	/* The last call is for the end of the list. */
	if (!buffer)
		return 0;
	record.inode = buffer->file->f_inode->i_ino;
	record.size = buffer->size;
	read_kernel_string(record.exporter, sizeof(record.exporter), buffer->exp_name);
	/* A name that is replaced at this moment may be freed. What is read then is no name. */
	if (buffer->name)
		read_kernel_string(record.name, sizeof(record.name), buffer->name);
	/* Where the record does not fit, the kernel calls the program again in the next read. */
	seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

const char license_of_program[] SECTION("license") = "GPL";
