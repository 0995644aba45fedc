// SPDX-License-Identifier: GPL-2.0

//! All dma-bufs that this user can know of, put together from what there is.

use crate::parse::{
    buffers_file,
    bufinfo,
    list_file,
    Parsed, //
};
use crate::processes;
use crate::system::{
    Found,
    System, //
};
use serde::{
    Deserialize,
    Serialize, //
};

/// How to get the module; what it is for is said before this.
pub const LOAD_IT: &str = "load the module: sudo modprobe rk_dma_heap, or insmod";

const SIZE: &str = "/proc/rk_dmabuf/size";
const SYSFS: &str = "/sys/kernel/dmabuf/buffers";

/// A process that holds a dma-buf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
    pub descriptors: u64,
    pub mappings: u64,
}

/// A dma-buf. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    pub inode: Option<u64>,
    pub size: u64,
    pub exporter: String,
    pub name: Option<String>,
    pub age_ms: Option<u64>,
    /// The process that exported it, and the name of the thread that did.
    pub pid: Option<u32>,
    pub thread: Option<String>,
    pub references: Option<u64>,
    pub devices: Vec<String>,
    pub holders: Vec<Holder>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub buffers: Vec<Buffer>,
    /// Whether these are all dma-bufs of the system.
    pub complete: bool,
    /// What is missing and how to get it.
    pub remarks: Vec<String>,
}

impl Survey {
    /// The sum of the sizes.
    pub fn bytes(&self) -> u64 {
        self.buffers
            .iter()
            .fold(0, |sum, buffer| sum.saturating_add(buffer.size))
    }
}

/// Whether the module is loaded.
pub fn module_is_loaded(system: &System) -> bool {
    system.exists(SIZE)
}

/// Looks at all that tells of dma-bufs.
pub fn survey(system: &System) -> Survey {
    let mut survey = Survey::default();
    if let Found::Content(content) = system.read(buffers_file::PATH) {
        let parsed = buffers_file::parse(&String::from_utf8_lossy(&content));
        survey.complete = !parsed.own_only;
        survey.take(parsed, buffers_file::PATH);
        if survey.complete {
            return survey;
        }
        survey.remarks.push(
            "the module knows of its own buffers only (track_all=0, or a kernel without kprobes): others are \
             those of processes that may be looked at"
                .to_owned(),
        );
    }
    let own_only = !survey.buffers.is_empty();
    let loaded = module_is_loaded(system);
    if !loaded {
        survey.remarks.push(format!(
            "the module rk_dma_heap is not loaded, so nobody knows who made a buffer, and when; {LOAD_IT}"
        ));
    } else if !own_only {
        survey.remarks.push(format!(
            "{} is for root alone: makers, ages and other users' processes are shown with sudo",
            buffers_file::PATH
        ));
    }
    // The kernel's list is not looked at where the module's does what a user may see.
    match system.read(bufinfo::PATH) {
        Found::Content(content) => {
            let parsed = bufinfo::parse(&String::from_utf8_lossy(&content));
            survey.complete = true;
            survey.merge(parsed, bufinfo::PATH);
        }
        Found::Denied if loaded => {}
        Found::Denied => survey.remarks.push(format!(
            "{} is for root alone: buffers of other users are shown with sudo",
            bufinfo::PATH
        )),
        Found::Absent if loaded => {}
        Found::Absent => survey.remarks.push(format!(
            "{} is not there: mount -t debugfs debugfs /sys/kernel/debug, on a kernel with CONFIG_DEBUG_FS",
            bufinfo::PATH
        )),
    }
    survey.add_sysfs(system);
    survey.add_processes(system);
    if loaded && !survey.complete {
        survey.add_list(system);
    }
    survey
        .buffers
        .sort_by_key(|buffer| std::cmp::Reverse(buffer.inode));
    survey
}

impl Survey {
    fn take(&mut self, parsed: Parsed<Buffer>, path: &str) {
        self.buffers.extend(parsed.items);
        if parsed.odd > 0 {
            self.remarks.push(format!(
                "{} of {path} could not be understood",
                crate::text::plural(parsed.odd, "line")
            ));
        }
    }

    fn merge(&mut self, mut parsed: Parsed<Buffer>, path: &str) {
        parsed
            .items
            .retain(|buffer| self.by_inode(buffer.inode).is_none());
        self.take(parsed, path);
    }

    fn by_inode(&mut self, inode: Option<u64>) -> Option<&mut Buffer> {
        self.buffers
            .iter_mut()
            .find(|buffer| inode.is_some() && buffer.inode == inode)
    }

    /// `CONFIG_DMABUF_SYSFS_STATS` of older kernels.
    fn add_sysfs(&mut self, system: &System) {
        for name in system.names(SYSFS) {
            let Ok(inode) = name.parse() else { continue };
            if self.by_inode(Some(inode)).is_some() {
                continue;
            }
            let Some(size) = system.number(&format!("{SYSFS}/{name}/size")) else {
                continue;
            };
            let exporter = system.text(&format!("{SYSFS}/{name}/exporter_name"));
            self.buffers.push(Buffer {
                inode: Some(inode),
                size,
                exporter: exporter.unwrap_or_default().trim_end().to_owned(),
                ..Buffer::default()
            });
            self.complete = true;
        }
    }

    /// Who holds what, as far as this user may look.
    fn add_processes(&mut self, system: &System) {
        let held = processes::held(system);
        if held.denied > 0 {
            self.remarks.push(format!(
                "{} of other users could not be looked into",
                match held.denied {
                    1 => "1 process".to_owned(),
                    more => format!("{more} processes"),
                }
            ));
        }
        for found in held.buffers {
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

    /// The rest of those that the module shows to everybody, without saying which they are.
    fn add_list(&mut self, system: &System) {
        let Some(content) = system.read(list_file::DEV).content() else {
            return;
        };
        let parsed = list_file::parse(&content);
        self.complete = !parsed.own_only;
        let mut known: Vec<&Buffer> = self.buffers.iter().collect();
        let mut rest = Vec::new();
        for row in parsed.items {
            match known.iter().position(|buffer| row.may_be(buffer)) {
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

impl list_file::Row {
    /// Whether this row may be about that dma-buf.
    pub fn may_be(&self, buffer: &Buffer) -> bool {
        fn cut(name: &str) -> String {
            let mut cut = String::new();
            for character in name.chars() {
                if cut.len() + character.len_utf8() > list_file::NAME_WIDTH {
                    break;
                }
                cut.push(if character.is_control() {
                    '?'
                } else {
                    character
                });
            }
            cut.trim_end().to_owned()
        }
        self.size == buffer.size / 1024 * 1024
            && self.exporter == cut(&buffer.exporter)
            && self.name == cut(buffer.name.as_deref().unwrap_or_default())
    }
}
