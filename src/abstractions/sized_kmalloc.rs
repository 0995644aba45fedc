// SPDX-License-Identifier: GPL-2.0

//! Boxes of a size that the compiler knows. `KBox` asks the allocator in a way that finds the size
//! out each time, for allocating and for freeing, which costs more than the allocator's own work.
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

/// The largest size that is allocated this way, in bytes. Beyond it the allocator has one size for
/// many anyway.
const MOST: usize = 256;

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
pub(crate) type SizedBox<T> = Box<T, Small>;

/// The allocator of [`SizedBox`].
pub(crate) struct Small;

// SAFETY: Memory comes from `kmalloc()`, here or through `Kmalloc`, stays where it is until it is
// freed, and is aligned as `Kmalloc` says.
unsafe impl Allocator for Small {
    const MIN_ALIGN: usize = Kmalloc::MIN_ALIGN;

    #[inline]
    fn alloc(layout: Layout, flags: Flags, nid: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0
            || layout.size() > MOST
            || layout.align() > Self::MIN_ALIGN
            || flags != GFP_KERNEL
        {
            return Kmalloc::alloc(layout, flags, nid);
        }
        // SAFETY: Any size may be asked for.
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
        // SAFETY: As the caller promises; whatever is allocated here comes from the same allocator.
        unsafe { Kmalloc::realloc(memory, layout, old_layout, flags, nid) }
    }

    #[inline]
    unsafe fn free(memory: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: The memory was allocated by this allocator, as the caller promises, and so by
            // `kmalloc()`.
            unsafe { bindings::kfree(memory.as_ptr().cast()) };
        }
    }
}
