// SPDX-License-Identifier: GPL-2.0

//! Tests of records that no event reaches.

#[kernel::prelude::kunit_tests(rk_dma_heap_records)]
mod records {
    use super::super::{
        Key,
        Other,
        Records, //
    };
    use crate::abstractions::{
        background::DelayedWork,
        dma_buf::DmaBuf,
        exporter::{
            self,
            example::PageExporter, //
        }, //
    };
    use kernel::{
        page::PAGE_SIZE,
        prelude::*,
        rbtree::RBTreeNode,
        sync::aref::ARef, //
    };

    const DEAD: usize = 1000;

    fn export() -> Result<ARef<DmaBuf>> {
        exporter::export(PageExporter::new(1), PAGE_SIZE, 0)
    }

    fn insert(records: &mut Records, dma_buf: &DmaBuf) -> Result {
        let node = RBTreeNode::new(Key::new(dma_buf), Other::new(), GFP_KERNEL)?;
        drop(records.insert_other(node, dma_buf, None));
        Ok(())
    }

    /// Inserts a record of a dma-buf that is released before this returns. What a kernel thread
    /// puts last is released later, so that is not the last reference here.
    fn insert_dead(records: &mut Records) -> Result {
        let dead = export()?;
        insert(records, &dead)?;
        let pinned = dead.inode_ref().dma_buf().ok_or(ENOENT)?;
        let file = pinned.file().ok_or(ENOENT)?;
        drop(dead);
        drop(file);
        drop(pinned);
        Ok(())
    }

    /// Any number of dma-bufs has been released, and their records are still there: a search, which
    /// is made with the lock held, looks at one of them.
    #[test]
    fn one_record_at_a_time() -> Result {
        let mut records = Records::new(DelayedWork::new()?);
        let live = export()?;
        insert(&mut records, &live)?;
        for _ in 0..DEAD {
            insert_dead(&mut records)?;
        }
        let mut number = u64::MAX;
        for _ in 0..DEAD {
            let found = records.newest_up_to(number).ok_or(ENOENT)?;
            assert!(found > live.inode() && found <= number);
            let (inode, _) = records.get(found).ok_or(ENOENT)?;
            assert!(inode.dma_buf().is_none());
            number = found - 1;
        }
        let found = records.newest_up_to(number).ok_or(ENOENT)?;
        assert_eq!(found, live.inode());
        let (inode, _) = records.get(found).ok_or(ENOENT)?;
        assert_eq!(inode.dma_buf().ok_or(ENOENT)?.inode(), found);
        assert!(records.newest_up_to(found - 1).is_none());
        // The totals are those of all records.
        assert!(records.sweep(Key::FIRST, 2 * DEAD).is_none());
        records.bury(Key::new(&live));
        Ok(())
    }

    /// The same for a sweep: it looks at no more records than the caller wants.
    #[test]
    fn so_many_records_at_a_time() -> Result {
        let mut records = Records::new(DelayedWork::new()?);
        for _ in 0..DEAD {
            insert_dead(&mut records)?;
        }
        let counted = |records: &Records| {
            let others = records.others.values();
            others
                .filter(|other| other.dead_since.get().is_none())
                .count()
        };
        let mut from = Some(Key::FIRST);
        let mut left = DEAD;
        while let Some(at) = from {
            assert_eq!(counted(&records), left);
            from = records.sweep(at, 32);
            left = left.saturating_sub(32);
        }
        assert_eq!(counted(&records), 0);
        Ok(())
    }
}
