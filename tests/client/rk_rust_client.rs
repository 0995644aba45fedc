// SPDX-License-Identifier: GPL-2.0

//! A driver in Rust that uses the heaps, through `include/rust/rk_dma_heap.rs`.
//!
//! On load it checks the interface's promises, and fails with `EIO` and a message in the log if one
//! does not hold. Until it is unloaded it holds a buffer and a page array of [`HELD`] pages each.

use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};
use rk_dma_heap::{
    Buffer,
    Heap,
    Pages, //
};

#[path = "../../include/rust/rk_dma_heap.rs"]
mod rk_dma_heap;

module! {
    type: RustClient,
    name: "rk_rust_client",
    authors: ["The rk_dma_heap authors"],
    description: "Uses heaps from Rust, for tests",
    license: "GPL v2",
}

const HEAP: &CStr = c"rk-dma-heap-cma";
const NAME: &CStr = c"rust-client";

/// Access mode, as for `open()`.
const READ_WRITE: u32 = kernel::bindings::O_RDWR;

/// Number of pages of the buffer and of the page array.
const HELD: usize = 16;

/// Fields are dropped in this order: the heap's reference may be dropped first.
struct RustClient {
    _heap: Arc<Heap>,
    _buffer: Buffer,
    _pages: Pages,
}

impl kernel::Module for RustClient {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let heap = Heap::find(HEAP)?;
        errors(&heap)?;
        let first = contents(&heap)?;
        expect("freed pages are allocated again", contents(&heap)? == first)?;

        let buffer = heap.buffer(HELD * PAGE_SIZE - 1, READ_WRITE, Some(NAME))?;
        expect("whole pages", buffer.size() == HELD * PAGE_SIZE)?;
        let pages = heap.pages(HELD * PAGE_SIZE, Some(NAME))?;
        Ok(Self {
            _heap: heap,
            _buffer: buffer,
            _pages: pages,
        })
    }
}

fn expect(what: &str, holds: bool) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("check failed: {}\n", what);
    Err(EIO)
}

fn errors(heap: &Arc<Heap>) -> Result {
    expect("no such heap", Heap::find(c"nothing").err() == Some(ENODEV))?;
    expect("no bytes", heap.pages(0, None).err() == Some(EINVAL))?;
    let answer = heap.buffer(0, READ_WRITE, None).err();
    expect("a buffer of no bytes", answer == Some(EINVAL))?;
    let answer = heap.buffer(PAGE_SIZE, u32::MAX, None).err();
    expect("unknown flags", answer == Some(EINVAL))?;
    let answer = heap.pages(usize::MAX / 2, None).err();
    expect("too many pages", answer == Some(ENOMEM))
}

/// Fills a page array, frees it, and returns its PFN.
fn contents(heap: &Arc<Heap>) -> Result<usize> {
    const SIZE: usize = 5 * PAGE_SIZE;
    let mut pages = heap.pages(SIZE - 1, Some(NAME))?;
    expect("an array of whole pages", pages.size() == SIZE)?;
    let mut found = KVVec::from_elem(1u8, SIZE, GFP_KERNEL)?;
    pages.read(0, &mut found)?;
    expect("zeros", found.iter().all(|byte| *byte == 0))?;

    let mut written = KVVec::with_capacity(SIZE, GFP_KERNEL)?;
    for offset in 0..SIZE {
        written.push((offset % 251) as u8, GFP_KERNEL)?;
    }
    // In two parts, one of which crosses a page boundary.
    let (start, rest) = written.split_at(PAGE_SIZE / 2 + 1);
    pages.write(start.len(), rest)?;
    pages.write(0, start)?;
    pages.read(0, &mut found)?;
    expect("what was written", found[..] == written[..])?;
    let answer = pages.write(SIZE - start.len() + 1, start);
    expect("beyond the end", answer.err() == Some(EINVAL))?;
    Ok(pages.first() as usize)
}
