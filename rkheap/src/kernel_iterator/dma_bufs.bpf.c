// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF iterator over all dma-bufs of the system. It writes a record for each of them.
 *
 * The structures have only the members that are read. Their offsets are those of the running
 * kernel, which the loader finds in its type information.
 */
typedef unsigned long long u64;
typedef long long s64;
typedef unsigned int u32;

#define LATER	      __attribute__((preserve_access_index))
#define SECTION(name) __attribute__((section(name), used))

struct inode {
	unsigned long i_ino;
} LATER;

struct atomic_number {
	long counter;
} LATER;

struct references {
	struct atomic_number refcnt;
} LATER;

struct file {
	struct references f_ref;
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
	u64 inode;
	u64 size;
	s64 references;
	char exporter[64];
	char name[32];
};

/* The numbers of the helpers in enum bpf_func_id of <linux/bpf.h>. */
static long (*const seq_write)(struct seq_file *seq, const void *data, u32 size) = (void *)127;
static long (*const read_kernel_string)(void *to, u32 size, const void *from) = (void *)115;

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
	/* The counter begins with 0 for one reference, and the iterator holds another one. */
	record.references = buffer->file->f_ref.refcnt.counter;
	read_kernel_string(record.exporter, sizeof(record.exporter), buffer->exp_name);
	/* A name that is replaced at this moment may be freed. What is read then is no name. */
	if (buffer->name)
		read_kernel_string(record.name, sizeof(record.name), buffer->name);
	/* Where the record does not fit, the kernel calls the program again in the next read. */
	seq_write(context->meta->seq, &record, sizeof(record));
	return 0;
}

const char license_of_program[] SECTION("license") = "GPL";
