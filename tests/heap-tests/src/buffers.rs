// SPDX-License-Identifier: GPL-2.0

//! A single buffer: its content after allocation, and the operations of its descriptor.

use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::{
    Buffer,
    SetName,
    NAME_MAX,
    SYNC_END,
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::heap::Heap;
use guest_support::ktap::skip;
use guest_support::pattern::Pattern;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::poll::{
    poll,
    PollFd,
    PollFlags,
    PollTimeout, //
};
use nix::sys::stat::fstat;
use nix::unistd::Whence;
use std::os::fd::AsFd;

pub const CASES: &[Case] = &[
    Case::new("zero-after-reuse", zero_after_reuse),
    Case::new("size-by-seeking", size_by_seeking),
    Case::new("size-by-stat", size_by_stat),
    Case::new("fdinfo", fdinfo),
    Case::new("name", name),
    Case::new("not-readable-writable", not_readable_writable),
    Case::new("idle-buffer-polls-ready", idle_buffer_polls_ready),
    Case::new(
        "idle-buffer-exports-signalled-fence",
        idle_buffer_exports_signalled_fence,
    ),
    Case::new("sync-valid-flags", sync_valid_flags),
    Case::new("sync-invalid-flags", sync_invalid_flags),
    Case::new("sync-bad-address", sync_bad_address),
    Case::new("duplicate-keeps-it-alive", duplicate_keeps_it_alive),
];

/// Sizes for each combination of page orders of a buffer.
fn sizes() -> [usize; 6] {
    let page = page_size();
    [
        page,
        3 * page,
        16 * page,
        (256 + 16 + 3) * page,
        512 * page,
        (4 * 256 + 7 * 16 + 5) * page,
    ]
}

// If the kernel zeroes all allocated memory, this test proves nothing; hence the tests boot it with
// init_on_alloc=0.
fn zero_after_reuse(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for round in 0..8 {
        // Held together, so that each size uses memory that another one had before.
        let buffers: Vec<Buffer> = sizes()
            .into_iter()
            .map(|size| heap.allocate(size))
            .collect::<Result<_>>()?;
        for (buffer, size) in buffers.iter().zip(sizes()) {
            let mapping = buffer.map()?;
            mapping
                .check_zero()
                .with_context(|| format!("round {round}, {size} bytes"))?;
            mapping.fill(Pattern(round), 0);
        }
    }
    Ok(())
}

fn size_by_seeking(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for size in sizes() {
        let buffer = heap.allocate(size)?;
        ensure!(buffer.seek(0, Whence::SeekEnd)? == size as i64);
        ensure!(buffer.seek(0, Whence::SeekSet)? == 0);
        for (offset, whence) in [
            (0, Whence::SeekCur),
            (1, Whence::SeekCur),
            (1, Whence::SeekSet),
            (-1, Whence::SeekSet),
            (1, Whence::SeekEnd),
            (-1, Whence::SeekEnd),
        ] {
            let what = format!("lseek {offset} {whence:?}");
            expect_errno(what, buffer.seek(offset, whence), Errno::EINVAL)?;
        }
    }
    Ok(())
}

fn size_by_stat(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for size in sizes() {
        let stat = fstat(&heap.allocate(size)?)?;
        ensure!(stat.st_size as usize == size, "st_size {}", stat.st_size);
        let blocks = stat.st_blocks as usize * 512;
        ensure!(blocks == size, "st_blocks for {blocks} bytes of {size}");
    }
    Ok(())
}

fn fdinfo(heap: &str) -> Result<()> {
    let name = heap;
    let heap = Heap::open(name)?;
    for size in sizes() {
        let buffer = heap.allocate(size)?;
        let info = buffer.info()?;
        ensure!(info.size == size, "{info:?}");
        ensure!(
            info.count == 1,
            "{info:?}: only one descriptor refers to the buffer"
        );
        ensure!(
            name.ends_with(&info.exporter),
            "{info:?}: the exporter's name is not {name}"
        );
        // The default name. For the vendor's heap it is the thread name alone, as the vendor's
        // programs expect.
        let mut given = format!("{}-heap-tests", std::process::id());
        given.truncate(16);
        if name.ends_with("rk-dma-heap-cma") {
            given = "heap-tests".into();
        }
        ensure!(
            info.name == Some(given.clone()),
            "{info:?}: the name is not {given:?}"
        );
        let second = buffer.map()?;
        let count = buffer.info()?.count;
        ensure!(
            count == 2,
            "count {count} with one descriptor and one mapping"
        );
        drop(second);
        ensure!(buffer.info()?.count == 1);
    }
    Ok(())
}

fn name(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(1)?;
    let longest = "n".repeat(NAME_MAX);
    for variant in [SetName::Pointer32, SetName::Pointer64] {
        for name in ["front", "a name with blanks", &longest] {
            buffer.set_name(name, variant)?;
            let found = buffer.info()?.name;
            ensure!(found.as_deref() == Some(name), "{found:?}, expected {name}");
            let link = std::fs::read_link(format!("/proc/self/fd/{}", buffer.raw_fd()))?;
            let expected = format!("/dmabuf:{name}");
            ensure!(
                link.to_str() == Some(&expected),
                "the link is {}",
                link.display()
            );
        }
        let too_long = "n".repeat(NAME_MAX + 1);
        expect_errno(
            "a name that is too long",
            buffer.set_name(&too_long, variant),
            Errno::EINVAL,
        )?;
        ensure!(
            buffer.info()?.name.as_deref() == Some(&longest),
            "the previous name was lost"
        );
    }
    Ok(())
}

fn not_readable_writable(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(1)?;
    let answer = nix::unistd::read(&buffer, &mut [0; 8]);
    expect_errno("read", answer, Errno::EINVAL)?;
    let answer = nix::unistd::write(&buffer, &[0; 8]);
    expect_errno("write", answer, Errno::EINVAL)
}

fn idle_buffer_polls_ready(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(1)?;
    let wanted = PollFlags::POLLIN | PollFlags::POLLOUT;
    let mut fds = [PollFd::new(buffer.as_fd(), wanted)];
    let ready = poll(&mut fds, PollTimeout::ZERO)?;
    ensure!(
        ready == 1 && fds[0].revents() == Some(wanted),
        "{:?}",
        fds[0].revents()
    );
    Ok(())
}

fn idle_buffer_exports_signalled_fence(heap: &str) -> Result<()> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    if !symbols.contains(" sync_file_create\n") {
        return Err(skip("this kernel is built without CONFIG_SYNC_FILE"));
    }
    let buffer = Heap::open(heap)?.allocate(1)?;
    for flags in [SYNC_READ, SYNC_WRITE, SYNC_RW] {
        let fence = buffer.export_sync_file(flags)?;
        let mut fds = [PollFd::new(fence.as_fd(), PollFlags::POLLIN)];
        ensure!(
            poll(&mut fds, PollTimeout::ZERO)? == 1,
            "flags {flags}: not signalled"
        );
    }
    for flags in [0, SYNC_END, SYNC_RW | SYNC_END] {
        let answer = buffer.export_sync_file(flags);
        expect_errno(format!("flags {flags}"), answer, Errno::EINVAL)?;
    }
    Ok(())
}

fn sync_valid_flags(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate((256 + 16 + 3) * page_size())?;
    let mapping = buffer.map()?;
    for (round, access) in [SYNC_READ, SYNC_WRITE, SYNC_RW].into_iter().enumerate() {
        let pattern = Pattern(round as u64);
        buffer.sync(SYNC_START | access)?;
        mapping.fill(pattern, 0);
        buffer.sync(SYNC_END | access)?;
        mapping.check(pattern, 0)?;
        // The kernel checks neither order nor number of the calls, so none may have an effect.
        for flags in [SYNC_END, SYNC_END, SYNC_START, SYNC_START] {
            buffer.sync(flags | access)?;
        }
        mapping.check(pattern, 0)?;
    }
    Ok(())
}

fn sync_invalid_flags(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(1)?;
    for flags in [SYNC_START, SYNC_END] {
        let what = format!("sync {flags}, neither read nor write");
        expect_errno(what, buffer.sync(flags), Errno::EINVAL)?;
    }
    for bit in (3..u64::BITS).map(|bit| 1 << bit) {
        for flags in [bit, bit | SYNC_RW, bit | SYNC_RW | SYNC_END] {
            expect_errno(
                format!("sync {flags:#x}"),
                buffer.sync(flags),
                Errno::EINVAL,
            )?;
        }
    }
    Ok(())
}

fn sync_bad_address(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(1)?;
    for address in [0, 1, usize::MAX - 3] {
        expect_errno("sync", buffer.sync_at(address), Errno::EFAULT)?;
    }
    Ok(())
}

fn duplicate_keeps_it_alive(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(page_size())?;
    let pattern = Pattern(4);
    buffer.map()?.fill(pattern, 0);
    let second = buffer.duplicate()?;
    ensure!(second.inode()? == buffer.inode()?);
    drop(buffer);
    second.map()?.check(pattern, 0)
}
