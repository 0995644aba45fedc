// SPDX-License-Identifier: GPL-2.0

//! The kernel interface for drivers.

use crate::sites::{
    boxed,
    fail_each_allocation,
    Outcome, //
};
use guest_support::allocator::{
    Allocator,
    Interface, //
};
use guest_support::ktap::Tests;
use nix::errno::Errno;

const HEAP: &str = "rk-dma-heap-cma";

const SIZE: usize = 1 << 20;

pub fn add(tests: &mut Tests) {
    for (name, interface) in [
        ("rockchip", Interface::Rockchip),
        ("android", Interface::Android),
    ] {
        test(tests, &format!("{name}-buffer"), move |allocator| {
            boxed(allocator.buffer(interface, HEAP, Some("faulty"), SIZE))
        });
        test(tests, &format!("{name}-descriptor"), move |allocator| {
            boxed(allocator.descriptor(interface, HEAP, None, SIZE))
        });
    }
    test(tests, "export", |allocator| {
        boxed(
            allocator
                .buffer(Interface::Rockchip, HEAP, None, SIZE)
                .and_then(|buffer| buffer.export()),
        )
    });
    test(tests, "pages", |allocator| {
        boxed(allocator.pages(HEAP, Some("faulty"), SIZE))
    });
    test(tests, "pages-unnamed", |allocator| {
        boxed(allocator.pages(HEAP, None, SIZE))
    });
    test(tests, "map-pages", |allocator| {
        boxed(allocator.pages(HEAP, None, SIZE).and_then(|pages| {
            let mut bytes = [0; 64];
            pages
                .read_mapped(0, &mut bytes)
                .map_err(|error| error.downcast().unwrap_or(Errno::EIO))
        }))
    });
    test(tests, "describe", |allocator| {
        boxed(allocator.describe(HEAP))
    });
    test(tests, "add-heap", |allocator| {
        boxed(
            allocator
                .add_heap("faulty-heap", true, false)
                .map(|()| AddedHeap(allocator)),
        )
    });
}

/// The driver's own heap; removed when dropped.
struct AddedHeap<'a>(&'a Allocator);

impl Drop for AddedHeap<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove_heap();
    }
}

fn test(
    tests: &mut Tests,
    name: &str,
    run: impl for<'a> Fn(&'a Allocator) -> Outcome<'a> + Copy + 'static,
) {
    tests.add(format!("interface/{name}"), move || {
        fail_each_allocation(&[Errno::ENOMEM], Allocator::open, run)
    });
}
