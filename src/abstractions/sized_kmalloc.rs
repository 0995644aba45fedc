// SPDX-License-Identifier: GPL-2.0

//! Boxes whose slab cache is chosen at compile time.
//!
//! `KBox` allocates and frees through `krealloc()`, which determines the slab cache and the old
//! size at run time. That costs more than the allocation itself.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::bindings as c;
use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        allocator::Kmalloc,
        AllocError,
        Allocator,
        Box,
        Flags,
        NumaNode, //
    },
    bindings,
    prelude::*, //
};

/// The maximum size in bytes that is allocated this way. The slab caches above it are shared by
/// wide ranges of sizes.
pub(crate) const MAX_SIZE: usize = 256;

/// A [`kernel::alloc::KBox`] of a small type.
///
/// # Examples
///
/// ```
/// use crate::abstractions::sized_kmalloc::SizedBox;
///
/// let small = SizedBox::new([1_u64; 5], GFP_KERNEL)?;
/// assert_eq!(small.iter().sum::<u64>(), 5);
/// ```
pub(crate) type SizedBox<T> = Box<T, SizedKmalloc>;

/// The allocator of [`SizedBox`].
pub(crate) struct SizedKmalloc;

// SAFETY: The memory is allocated by `kmalloc()`, here or in `Kmalloc`. So it is valid until it is
// freed, and is aligned to `Kmalloc::MIN_ALIGN` at least. Larger alignments are left to `Kmalloc`.
unsafe impl Allocator for SizedKmalloc {
    const MIN_ALIGN: usize = Kmalloc::MIN_ALIGN;

    #[inline]
    fn alloc(layout: Layout, flags: Flags, nid: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0
            || layout.size() > MAX_SIZE
            || layout.align() > Self::MIN_ALIGN
            || flags != GFP_KERNEL
        {
            return Kmalloc::alloc(layout, flags, nid);
        }
        // SAFETY: The function accepts any size.
        let memory = unsafe { c::kmalloc_small(layout.size()) };
        let memory = NonNull::new(memory.cast()).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn realloc(
        memory: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: The requirements are the same. Memory that `alloc()` returned was allocated by
        // `kmalloc()`, as that of `Kmalloc` is.
        unsafe { Kmalloc::realloc(memory, layout, old_layout, flags, nid) }
    }

    #[inline]
    unsafe fn free(memory: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: By the safety requirements the memory was allocated by this allocator, which
            // uses `kmalloc()`.
            unsafe { bindings::kfree(memory.as_ptr().cast()) };
        }
    }
}
