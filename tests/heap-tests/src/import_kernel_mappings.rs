// SPDX-License-Identifier: GPL-2.0

//! Kernel mappings of buffers, as drivers make them by `dma_buf_vmap()`, and what remains of them.
//!
//! `/proc/vmallocinfo` lists the mappings of the whole kernel. Those of a test are told by their
//! size, which nothing else has: that of the buffer and of the guard page behind it.

use crate::import_client::{
    bytes_of,
    open, //
};
use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::client::{
    Attachment,
    Client,
    View, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    self,
    Heap, //
};
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use nix::errno::Errno;

pub const CASES: &[Case] = &[
    Case::new("kernel-mapping-stays", mapping_stays),
    Case::new("kernel-mappings-have-a-limit", mappings_have_a_limit),
    Case::new(
        "kernel-mapping-ends-with-its-process",
        mapping_ends_with_its_process,
    ),
    Case::new("kernel-mappings-at-once", mappings_at_once).within(120),
    #[cfg(target_pointer_width = "32")]
    Case::new(
        "kernel-mappings-leave-space-to-others",
        mappings_leave_space_to_others,
    ),
];

/// The number of mappings without a user that the module keeps.
const KEPT: usize = 64;

/// The pages of a buffer that is larger than the largest run, and has no power of two.
const LARGE: usize = 2 * 256 + 3 * 16 + 5;

/// Returns the addresses of the kernel mappings of buffers with this number of pages.
fn mappings(pages: usize) -> Result<Vec<String>> {
    let list = std::fs::read_to_string("/proc/vmallocinfo")?;
    let size = ((pages + 1) * page_size()).to_string();
    Ok(list
        .lines()
        .filter(|line| line.contains(" vmap") || line.contains(" ioremap"))
        .map(|line| line.split_whitespace())
        .filter_map(|mut words| Some((words.next()?, words.next()?)))
        .filter(|(_, found)| *found == size)
        .map(|(address, _)| address.to_owned())
        .collect())
}

fn check_mappings(what: &str, pages: usize, expected: &[String]) -> Result<()> {
    let found = mappings(pages)?;
    ensure!(
        found == expected,
        "{what}: mappings at {found:?} instead of {expected:?}"
    );
    Ok(())
}

/// Returns whether the kernel can access the memory without another mapping: cached pages in one
/// segment, none of them high memory.
fn is_linear(heap: &str, device: &Attachment<'_>) -> Result<bool> {
    let is_outside = [Err(Errno::ENXIO), Err(Errno::EINVAL)]
        .iter()
        .any(|error| device.memory_type(View::Cached, 0).map(drop) == *error);
    Ok(!heap.contains("uncached") && device.segments()?.len() == 1 && !is_outside)
}

fn check_content(device: &Attachment<'_>, len: usize, pattern: Pattern) -> Result<()> {
    let mut seen = vec![0; len];
    device.read(View::Kernel, 0, &mut seen)?;
    ensure!(
        seen == bytes_of(pattern, len),
        "the kernel does not read {pattern:?}"
    );
    Ok(())
}

fn mapping_stays(heap: &str) -> Result<()> {
    let clients = [open()?, open()?];
    let buffer = Heap::open(heap)?.allocate(LARGE * page_size())?;
    let mapping = buffer.map()?;
    let len = mapping.len();
    let (device, other) = (clients[0].import(&buffer)?, clients[1].import(&buffer)?);
    check_mappings("before", LARGE, &[])?;

    device.vmap()?;
    let made = mappings(LARGE)?;
    let is_own = heap::is_own(heap)?;
    let expected = usize::from(!is_own || !is_linear(heap, &device)?);
    ensure!(
        made.len() == expected,
        "mappings at {made:?} instead of {expected}"
    );
    device.write(View::Kernel, 0, &bytes_of(Pattern(1), len))?;
    buffer
        .with_cpu_access(|| mapping.check(Pattern(1), 0))?
        .context("the kernel's data")?;
    device.vunmap()?;
    // The kernel's own heaps keep nothing.
    let kept = match is_own {
        true => made.as_slice(),
        false => &[],
    };
    check_mappings("without a user", LARGE, kept)?;

    // What is written meanwhile is in the same mapping, for two users of it.
    buffer.with_cpu_access(|| mapping.fill(Pattern(2), 0))?;
    device.vmap()?;
    other.vmap()?;
    if is_own {
        check_mappings("with two users", LARGE, &made)?;
    }
    check_content(&device, len, Pattern(2))?;
    device.vunmap()?;
    check_content(&other, len, Pattern(2))?;
    other.write(View::Kernel, 0, &bytes_of(Pattern(3), len))?;
    other.vunmap()?;
    buffer
        .with_cpu_access(|| mapping.check(Pattern(3), 0))?
        .context("the other user's data")?;

    // Reclaim takes nothing from anybody.
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    device.vmap()?;
    check_content(&device, len, Pattern(3))?;
    drop((device, other, mapping));
    check_mappings("without importers", LARGE, kept)?;
    drop(buffer);
    eventually(CHILD_TIMEOUT, || check_mappings("released", LARGE, &[]))
}

fn value_of(index: usize) -> [u8; 8] {
    (index as u64 + 1).to_ne_bytes()
}

fn mappings_have_a_limit(heap: &str) -> Result<()> {
    const PAGES: usize = 19;
    let client = open()?;
    let node = Heap::open(heap)?;
    let mut buffers = Vec::new();
    let mut linear = 0;
    for index in 0..KEPT + 10 {
        let buffer = node.allocate(PAGES * page_size())?;
        let device = client.import(&buffer)?;
        linear += usize::from(is_linear(heap, &device)?);
        device.vmap()?;
        device.write(View::Kernel, 0, &value_of(index))?;
        device.vunmap()?;
        buffers.push(buffer);
    }
    let expected = match heap::is_own(heap)? {
        true => KEPT.min(buffers.len() - linear),
        false => 0,
    };
    let found = mappings(PAGES)?.len();
    ensure!(found == expected, "{found} mappings instead of {expected}");
    // Those that were unmapped are mapped again, and the others are not mixed up.
    for (index, buffer) in buffers.iter().enumerate().rev() {
        let device = client.import(buffer)?;
        device.vmap()?;
        let mut value = [0; 8];
        device.read(View::Kernel, 0, &mut value)?;
        ensure!(
            value == value_of(index),
            "buffer {index} has the value {value:?}"
        );
    }
    drop(buffers);
    eventually(CHILD_TIMEOUT, || check_mappings("released", PAGES, &[]))
}

fn mapping_ends_with_its_process(heap: &str) -> Result<()> {
    const PAGES: usize = 23;
    open()?;
    let (parent, other) = Channel::pair()?;
    let mut child = Child::run(|| {
        let client = Client::open()?;
        let allocate = || Heap::open(heap)?.allocate(PAGES * page_size());
        let (used, unused) = (allocate()?, allocate()?);
        let (user, former) = (client.import(&used)?, client.import(&unused)?);
        user.vmap()?;
        former.vmap()?;
        former.vunmap()?;
        other.send("mapped", None)?;
        loop {
            nix::unistd::pause();
        }
    })?;
    parent.expect("mapped")?;
    child.kill(CHILD_TIMEOUT)?;
    eventually(CHILD_TIMEOUT, || check_mappings("killed", PAGES, &[]))
}

/// More buffers than mappings are kept, in several processes, so each one unmaps what others use
/// again or release.
fn mappings_at_once(heap: &str) -> Result<()> {
    const PAGES: usize = 21;
    const PROCESSES: usize = 3;
    const BUFFERS: usize = 30;
    open()?;
    let one = |seed: usize| -> Result<()> {
        let client = Client::open()?;
        let heap = Heap::open(heap)?;
        let allocate = || heap.allocate(PAGES * page_size());
        let mut buffers: Vec<Buffer> = (0..BUFFERS).map(|_| allocate()).collect::<Result<_>>()?;
        let mut values = [0_u64; BUFFERS];
        for round in 0..120 {
            let index = (round * 7 + round / 11 + seed) % BUFFERS;
            let device = client.import(&buffers[index])?;
            device.vmap()?;
            let mut value = [0; 8];
            device.read(View::Kernel, 8, &mut value)?;
            ensure!(
                u64::from_ne_bytes(value) == values[index],
                "round {round}: another buffer's content"
            );
            values[index] = (round * PROCESSES + seed + 1) as u64;
            device.write(View::Kernel, 8, &values[index].to_ne_bytes())?;
            drop(device);
            if round % 5 == 0 {
                let index = (round / 5) % BUFFERS;
                buffers[index] = allocate()?;
                values[index] = 0;
            }
        }
        Ok(())
    };
    let children: Vec<Child> = (0..PROCESSES)
        .map(|seed| Child::run(|| one(seed)))
        .collect::<Result<_>>()?;
    for child in children {
        child.succeed()?;
    }
    eventually(CHILD_TIMEOUT, || check_mappings("released", PAGES, &[]))
}

/// A mapping without a user is unmapped before somebody else's fails.
#[cfg(target_pointer_width = "32")]
fn mappings_leave_space_to_others(heap: &str) -> Result<()> {
    // Fits into the space of the mapping that gives way.
    const CHUNK: usize = 2 << 20;
    let client = open()?;
    let buffer = Heap::open(heap)?.allocate(LARGE * page_size())?;
    let device = client.import(&buffer)?;
    device.vmap()?;
    device.write(View::Kernel, 0, &bytes_of(Pattern(4), buffer.size()?))?;
    device.vunmap()?;
    let expected = usize::from(!is_linear(heap, &device)?);
    let kept = mappings(LARGE)?;
    ensure!(
        kept.len() == expected,
        "mappings at {kept:?} instead of {expected}"
    );

    let other = open()?;
    let mut chunks = 0;
    while !mappings(LARGE)?.is_empty() {
        // The address space of 32 bits has not more.
        ensure!(chunks < 2048, "{chunks} others did not need the space");
        other
            .occupy_address_space(CHUNK)
            .with_context(|| format!("after {chunks} others"))?;
        chunks += 1;
    }
    drop(other);
    device.vmap()?;
    check_content(&device, buffer.size()?, Pattern(4))
}
