// SPDX-License-Identifier: GPL-2.0

//! All dma-bufs that this user can see, collected from the module, debugfs, sysfs and procfs.

use crate::buffer::Buffer;
use crate::kernel_iterator;
use crate::module;
use crate::parse::{
    buffers_file,
    bufinfo,
    list_file,
    records,
    Parsed, //
};
use crate::processes;
use crate::system::{
    ReadResult,
    System, //
};
use crate::text;
use std::io::ErrorKind;

const SYSFS: &str = "/sys/kernel/dmabuf/buffers";

/// The dma-bufs of a system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub buffers: Vec<Buffer>,
    /// Whether `buffers` holds all dma-bufs of the system.
    pub complete: bool,
    /// Whether the module knows, and its sums count, its own buffers only.
    own_only: bool,
    /// What is missing and how to get it.
    pub remarks: Vec<String>,
}

impl Survey {
    /// Collects dma-bufs from every source that this user may read.
    pub fn take(system: &System) -> Self {
        let mut survey = Survey::default();
        if let ReadResult::Content(content) = system.read(buffers_file::PATH) {
            let parsed = buffers_file::parse(&String::from_utf8_lossy(&content));
            survey.own_only = parsed.own_only;
            survey.complete = parsed.is_complete();
            survey.add(parsed, buffers_file::PATH);
            if !survey.own_only {
                return survey;
            }
        }
        let listed = system.is_running().then(kernel_iterator::read);
        if let Some(Ok(content)) = &listed {
            let parsed = records::parse(content);
            survey.complete = parsed.is_complete();
            survey.merge(parsed, records::SOURCE);
        }
        let loaded = module::is_loaded(system);
        if !loaded {
            survey.remarks.push(format!(
                "the module rk_dma_heap is not loaded, so the creators and ages of buffers are \
                 unknown: {}",
                module::LOAD_HINT
            ));
        } else if !survey.own_only {
            survey.remarks.push(format!(
                "{} is readable by root only, so creators, ages and processes of other users are \
                 not shown: use sudo",
                buffers_file::PATH
            ));
        }
        survey.add_bufinfo(system, loaded);
        if let Some(Err(error)) = listed {
            if !survey.complete && error.kind() != ErrorKind::PermissionDenied {
                survey
                    .remarks
                    .push(format!("{} cannot be used: {error}", records::SOURCE));
            }
        }
        survey.add_sysfs(system);
        if survey.own_only && !survey.complete {
            survey.remarks.push(
                "the module tracks only its own buffers (track_all=0, or a kernel without \
                 kprobes), so other buffers are found only in processes that this user may \
                 inspect: load the module with track_all=1 on a kernel with kprobes"
                    .to_owned(),
            );
        }
        survey.add_processes(system);
        if loaded && !survey.complete {
            survey.add_list(system);
        }
        survey
            .buffers
            .sort_by_key(|buffer| std::cmp::Reverse(buffer.inode));
        survey
    }

    /// Adds what the kernel's own list has beyond what is known: buffers, if some may be missing,
    /// and devices.
    fn add_bufinfo(&mut self, system: &System, loaded: bool) {
        let missing = match self.complete {
            true => "the devices that buffers are attached to",
            false => "buffers of other users",
        };
        match system.read(bufinfo::PATH) {
            ReadResult::Content(content) => {
                let parsed = bufinfo::parse(&String::from_utf8_lossy(&content));
                if self.complete {
                    self.add_devices(parsed.items);
                } else {
                    self.complete = parsed.is_complete();
                    self.merge(parsed, bufinfo::PATH);
                }
            }
            // The lists of a loaded module still have all buffers that a user may see.
            ReadResult::Denied | ReadResult::Absent if loaded => {}
            ReadResult::Denied => self.remarks.push(format!(
                "{} is readable by root only, so {missing} are not shown: use sudo",
                bufinfo::PATH
            )),
            ReadResult::Absent => self.remarks.push(format!(
                "{} is missing, so {missing} are not shown: run `mount -t debugfs debugfs \
                 /sys/kernel/debug` on a kernel with CONFIG_DEBUG_FS",
                bufinfo::PATH
            )),
        }
    }

    /// Adds all buffers of the file `path`.
    fn add(&mut self, parsed: Parsed<Buffer>, path: &str) {
        self.buffers.extend(parsed.items);
        if parsed.malformed > 0 {
            self.remarks.push(format!(
                "cannot parse {} of {path}: the output may lack buffers",
                text::plural(parsed.malformed, "line")
            ));
        }
        if parsed.incomplete {
            self.remarks.push(format!(
                "{path} lacks buffers, because the module had no memory to record them: free some \
                 memory, and read again"
            ));
        }
    }

    /// Adds those buffers of the file `path` that are not known yet.
    fn merge(&mut self, mut parsed: Parsed<Buffer>, path: &str) {
        parsed
            .items
            .retain(|buffer| self.by_inode(buffer.inode).is_none());
        self.add(parsed, path);
    }

    /// Adds the devices of known buffers. A name can forge rows of the kernel's list, so it adds no
    /// buffer, and what it says of another size or exporter is not believed.
    fn add_devices(&mut self, listed: Vec<Buffer>) {
        for found in listed {
            if let Some(known) = self.by_inode(found.inode) {
                let is_same = (known.size, &known.exporter) == (found.size, &found.exporter);
                if is_same && known.devices.is_empty() {
                    known.devices = found.devices;
                }
            }
        }
    }

    /// Returns the buffers that the sums of the module count. Of others it does not know the age.
    pub fn into_counted(mut self) -> Vec<Buffer> {
        if self.own_only {
            self.buffers.retain(|buffer| buffer.age_ms.is_some());
        }
        self.buffers
    }

    fn by_inode(&mut self, inode: Option<u64>) -> Option<&mut Buffer> {
        self.buffers
            .iter_mut()
            .find(|buffer| inode.is_some() && buffer.inode == inode)
    }

    /// Adds the buffers that older kernels list with `CONFIG_DMABUF_SYSFS_STATS`.
    fn add_sysfs(&mut self, system: &System) {
        let names = system.names(SYSFS);
        let mut all_read = !names.is_empty();
        for name in names {
            let Ok(inode) = name.parse() else { continue };
            if self.by_inode(Some(inode)).is_some() {
                continue;
            }
            let Some(size) = system.number(&format!("{SYSFS}/{name}/size")) else {
                all_read = false;
                continue;
            };
            let exporter = system.text(&format!("{SYSFS}/{name}/exporter_name"));
            self.buffers.push(Buffer {
                inode: Some(inode),
                size,
                exporter: exporter.unwrap_or_default().trim_end().to_owned(),
                ..Buffer::default()
            });
        }
        self.complete |= all_read;
    }

    /// Adds the holders of buffers, and buffers that only processes know. Covers the processes
    /// that this user may inspect.
    fn add_processes(&mut self, system: &System) {
        let scan = processes::scan(system);
        if scan.denied > 0 {
            self.remarks.push(format!(
                "cannot inspect {} of other users: use sudo",
                match scan.denied {
                    1 => "1 process".to_owned(),
                    more => format!("{more} processes"),
                }
            ));
        }
        for found in scan.buffers {
            match self.by_inode(found.inode) {
                Some(buffer) => {
                    buffer.holders = found.holders;
                    if buffer.name.is_none() {
                        buffer.name = found.name;
                    }
                }
                None => self.buffers.push(found),
            }
        }
    }

    /// Adds the remaining rows of `/proc/rk_dmabuf/dev`. Every user may read this list, but it has
    /// no inode numbers.
    fn add_list(&mut self, system: &System) {
        let Some(content) = system.read(list_file::DEV).content() else {
            return;
        };
        let parsed = list_file::parse(&content);
        self.complete = parsed.is_complete();
        let mut known: Vec<&Buffer> = self.buffers.iter().collect();
        let mut rest = Vec::new();
        // The kernel hides the names of buffers that other users have exported. Such a row
        // describes a known buffer only if no row with a name does.
        let (named, nameless): (Vec<_>, Vec<_>) = parsed
            .items
            .into_iter()
            .partition(|row| !row.name.is_empty());
        for row in named.into_iter().chain(nameless) {
            let exact = known.iter().position(|buffer| row.matches(buffer));
            let hidden = || {
                let same = |buffer: &&Buffer| row.matches_nameless(buffer);
                known.iter().position(same).filter(|_| row.name.is_empty())
            };
            match exact.or_else(hidden) {
                Some(index) => drop(known.remove(index)),
                None => rest.push(Buffer {
                    size: row.size,
                    exporter: row.exporter,
                    name: (!row.name.is_empty()).then_some(row.name),
                    devices: row.devices,
                    ..Buffer::default()
                }),
            }
        }
        self.buffers.extend(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(inode: u64, size: u64, age_ms: Option<u64>) -> Buffer {
        Buffer {
            inode: Some(inode),
            size,
            exporter: "system".into(),
            age_ms,
            ..Buffer::default()
        }
    }

    #[test]
    fn a_forged_row_adds_no_buffer_and_no_device() {
        let mut survey = Survey {
            buffers: vec![buffer(7, 4096, None), buffer(8, 4096, None)],
            complete: true,
            ..Survey::default()
        };
        let listed = |inode, size| Buffer {
            devices: vec!["gpu".into()],
            ..buffer(inode, size, None)
        };
        survey.add_devices(vec![listed(7, 4096), listed(8, 1), listed(9, 4096)]);
        let [first, second] = &survey.buffers[..] else {
            panic!("{survey:?}");
        };
        assert_eq!(first.devices, ["gpu"]);
        assert!(second.devices.is_empty());
    }

    #[test]
    fn sums_count_own_buffers_where_the_module_knows_no_others() {
        let survey = |own_only| Survey {
            buffers: vec![buffer(7, 4096, Some(5)), buffer(8, 8192, None)],
            own_only,
            ..Survey::default()
        };
        assert_eq!(survey(false).into_counted().len(), 2);
        assert_eq!(survey(true).into_counted(), [buffer(7, 4096, Some(5))]);
    }
}
