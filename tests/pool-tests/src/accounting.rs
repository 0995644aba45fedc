// SPDX-License-Identifier: GPL-2.0

//! Memory cgroups: with `mem_accounting=1` a buffer is charged to the allocating process, whatever
//! the source of its pages is.

use crate::cgroup::Cgroup;
use crate::figures::Figures;
use crate::trace::Trace;
use crate::{
    HEAPS,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::module::Module;
use guest_support::process::Child;
use guest_support::retry::eventually;
use guest_support::{
    expect_errno,
    memory,
    page_size, //
};
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    for (name, source) in [
        ("accounting/fresh", Source::Fresh),
        ("accounting/from-the-pool", Source::Pool),
        ("accounting/from-the-backlog", Source::Backlog),
    ] {
        tests.add(name, move || charged_and_uncharged(source));
    }
    tests.add("accounting/follows-the-allocator", follows_the_allocator);
    tests.add("accounting/limit", limit);
    tests.add("accounting/charged-as-taken", charged_as_taken);
    tests.add_within(LONG, "accounting/more-than-the-pool", more_than_the_pool);
    tests.add("accounting/off-by-itself", off_by_itself);
}

const SIZE: usize = 24 * MIB;

/// Time for a test that allocates much.
const LONG: Duration = Duration::from_secs(120);

/// The kernel charges in batches, and a process has pages of its own.
const TOLERANCE: usize = 2 * MIB;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Fresh,
    Pool,
    Backlog,
}

/// Prepares SIZE bytes at `source` for the next allocation.
fn prepare(heap: &Heap, source: Source) -> Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    if source != Source::Fresh {
        drop(heap.allocate(SIZE)?);
    }
    if source == Source::Pool {
        let pooled = Figures::settled()?.pooled;
        ensure!(pooled == SIZE, "{pooled} bytes are pooled");
    }
    Ok(())
}

fn check(what: &str, found: usize, expected: usize) -> Result<()> {
    ensure!(
        found.abs_diff(expected) <= TOLERANCE,
        "{what}: {} KiB charged, expected about {}",
        found >> 10,
        expected >> 10
    );
    Ok(())
}

/// A process in a cgroup that allocates SIZE bytes on request, passes the buffer on and waits.
struct Tenant {
    channel: Channel,
    child: Child,
}

impl Tenant {
    fn start(cgroup: &Cgroup, heap: &'static str) -> Result<Tenant> {
        let (channel, peer) = Channel::pair()?;
        let child = Child::run(|| {
            cgroup.attach()?;
            let heap = Heap::open(heap)?;
            peer.send("ready", None)?;
            peer.expect("allocate")?;
            let buffer = heap.allocate(SIZE)?;
            peer.send("allocated", Some(buffer.as_fd()))?;
            drop(buffer);
            peer.send("closed", None)?;
            peer.expect("exit")?;
            Ok(())
        })?;
        channel.expect("ready")?;
        Ok(Tenant { channel, child })
    }

    fn allocate(&self) -> Result<Buffer> {
        self.channel.send("allocate", None)?;
        let buffer = Buffer::from(self.channel.expect_fd("allocated")?);
        self.channel.expect("closed")?;
        Ok(buffer)
    }

    fn exit(self) -> Result<()> {
        self.channel.send("exit", None)?;
        self.child.succeed()
    }
}

fn charged_and_uncharged(source: Source) -> Result<()> {
    let module = Module::load("mem_accounting=1")?;
    let cgroup = Cgroup::new("pool-tests")?;
    for name in HEAPS {
        let heap = Heap::open(name)?;
        let tenant = Tenant::start(&cgroup, name)?;
        let (charged, kernel) = (cgroup.charged()?, cgroup.kernel()?);
        prepare(&heap, source)?;
        let before = Figures::of(name)?;
        let buffer = tenant.allocate()?;
        let after = Figures::of(name)?;
        match source {
            Source::Pool => ensure!(
                after.misses == before.misses,
                "{name}: not all pages are from the pool: {before:?}, then {after:?}"
            ),
            Source::Fresh => ensure!(
                after.hits == before.hits,
                "{name}: not all pages are fresh: {before:?}, then {after:?}"
            ),
            Source::Backlog => {}
        }
        check(name, cgroup.charged()?, charged + SIZE)?;
        check(name, cgroup.kernel()?, kernel + SIZE)?;
        drop(buffer);
        // Uncharged immediately, not only after the worker has prepared the pages.
        check(&format!("{name}, freed"), cgroup.charged()?, charged)?;
        check(&format!("{name}, freed"), cgroup.kernel()?, kernel)?;
        tenant.exit()?;
        Figures::settled()?;
    }
    module.unload()
}

// The charge stays with the allocating process's cgroup as long as the buffer lives, even after the
// process has passed the buffer on and exited.
fn follows_the_allocator() -> Result<()> {
    let module = Module::load("mem_accounting=1")?;
    let (owner, user) = (Cgroup::new("pool-tests")?, Cgroup::new("pool-tests-user")?);
    let tenant = Tenant::start(&owner, "system")?;
    let charged = owner.charged()?;
    let buffer = tenant.allocate()?;
    tenant.exit()?;
    check("the allocating process has exited", owner.charged()?, SIZE)?;
    Child::run(|| {
        user.attach()?;
        let mapping = buffer.map()?;
        for offset in (0..mapping.len()).step_by(page_size()) {
            mapping.write(offset, 1);
        }
        check("a user who did not allocate", user.kernel()?, 0)
    })?
    .succeed()?;
    check("after its use", owner.charged()?, SIZE)?;
    drop(buffer);
    eventually(Duration::from_secs(2), || {
        let left = owner.charged()?;
        ensure!(
            left <= charged.max(TOLERANCE),
            "{left} bytes are still charged"
        );
        Ok(())
    })?;
    module.unload()
}

fn limit() -> Result<()> {
    const LIMIT: usize = 40 * MIB;
    let module = Module::load("mem_accounting=1 pool_max_percent=50")?;
    let cgroup = Cgroup::new("pool-tests")?;
    cgroup.set_limit(LIMIT)?;
    let kills = memory::oom_kills()?;
    for name in HEAPS {
        for pooled in [false, true] {
            let heap = Heap::open(name)?;
            std::fs::write("/proc/sys/vm/drop_caches", "2")?;
            if pooled {
                drop(heap.allocate(3 * LIMIT)?);
                Figures::settled()?;
            }
            Child::run(|| {
                cgroup.attach()?;
                let heap = Heap::open(name)?;
                let half = heap.allocate(LIMIT / 2)?;
                let charged = cgroup.charged()?;
                for len in [LIMIT, 2 * LIMIT] {
                    let answer = heap.allocate_with(&AllocationData::read_write(len as u64));
                    let what = format!("{name}: {len} bytes, pooled: {pooled}");
                    expect_errno(what, answer, Errno::ENOMEM)?;
                    check("after ENOMEM", cgroup.charged()?, charged)?;
                }
                drop(half);
                // Later allocations within the limit succeed.
                heap.allocate(LIMIT / 2).map(drop)
            })?
            .succeed()?;
        }
    }
    let own = cgroup.kills()?;
    ensure!(own == 0, "{own} processes of the cgroup were killed");
    ensure!(memory::oom_kills()? == kills, "a process was killed");
    Figures::settled()?;
    module.unload()
}

/// Lets a process of a cgroup allocate more than the cgroup's limit.
fn attempt_in_vain(cgroup: &Cgroup, heap: &str, size: usize) -> Result<()> {
    Child::run(|| {
        cgroup.attach()?;
        let answer = Heap::open(heap)?.allocate_with(&AllocationData::read_write(size as u64));
        expect_errno("more than the limit", answer, Errno::ENOMEM)
    })?
    .succeed()
}

// A process takes no more memory from others than its cgroup may have.
fn charged_as_taken() -> Result<()> {
    const LIMIT: usize = 32 * MIB;
    let module = Module::load("mem_accounting=1 pool_max_percent=50")?;
    let cgroup = Cgroup::new("pool-tests")?;
    cgroup.set_limit(LIMIT)?;
    for name in HEAPS {
        for pooled in [0, 3 * LIMIT] {
            std::fs::write("/proc/sys/vm/drop_caches", "2")?;
            if pooled > 0 {
                drop(Heap::open(name)?.allocate(pooled)?);
                Figures::settled()?;
            }
            let trace = Trace::of(&[
                "rk_dma_heap/rk_dma_heap_pool_hit",
                "rk_dma_heap/rk_dma_heap_pool_miss",
            ])?;
            attempt_in_vain(&cgroup, name, 8 * LIMIT)?;
            let mut taken = 0;
            for event in trace.take()? {
                taken += (event.number("runs")? as usize) << event.number("order")?;
            }
            let taken = taken * page_size();
            diagnose(&format!("{name}: {} KiB taken", taken >> 10));
            ensure!(
                (LIMIT / 2..=LIMIT + TOLERANCE).contains(&taken),
                "{name}: {taken} bytes were taken, {pooled} pooled"
            );
        }
        let before = Figures::settled()?.pooled;
        for _ in 0..20 {
            attempt_in_vain(&cgroup, name, 8 * LIMIT)?;
        }
        let after = Figures::settled()?.pooled;
        ensure!(
            after + TOLERANCE >= before,
            "{name}: {before} bytes were pooled, {after} after attempts in vain"
        );
    }
    Figures::settled()?;
    module.unload()
}

fn off_by_itself() -> Result<()> {
    for parameters in ["", "mem_accounting=0"] {
        let module = Module::load(parameters)?;
        let cgroup = Cgroup::new("pool-tests")?;
        for name in HEAPS {
            let heap = Heap::open(name)?;
            for source in [Source::Fresh, Source::Pool] {
                let tenant = Tenant::start(&cgroup, name)?;
                let (charged, kernel) = (cgroup.charged()?, cgroup.kernel()?);
                prepare(&heap, source)?;
                let buffer = tenant.allocate()?;
                let size = buffer.size().context("no buffer")?;
                diagnose(&format!(
                    "{name}: {} KiB charged for {} KiB",
                    cgroup.charged()?.saturating_sub(charged) >> 10,
                    size >> 10
                ));
                check(name, cgroup.charged()?, charged)?;
                check(name, cgroup.kernel()?, kernel)?;
                drop(buffer);
                tenant.exit()?;
                Figures::settled()?;
            }
        }
        drop(cgroup);
        module.unload()?;
    }
    Ok(())
}

// What the pool had goes back to it, also if the request took more than the pool may have.
fn more_than_the_pool() -> Result<()> {
    const POOLED: usize = 64 * MIB;
    let module = Module::load("mem_accounting=1 pool_max_percent=10")?;
    let cgroup = Cgroup::new("pool-tests")?;
    cgroup.set_limit(3 * POOLED)?;
    drop(Heap::open("system")?.allocate(POOLED)?);
    let before = Figures::settled()?.pooled;
    ensure!(before >= POOLED, "{before} bytes are pooled");
    for _ in 0..2 {
        attempt_in_vain(&cgroup, "system", 6 * POOLED)?;
        let after = Figures::settled()?.pooled;
        ensure!(
            after + TOLERANCE >= before,
            "{after} bytes of {before} are left"
        );
    }
    module.unload()
}
