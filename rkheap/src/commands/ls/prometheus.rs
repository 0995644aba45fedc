// SPDX-License-Identifier: GPL-2.0

//! The table of heaps in the text format of Prometheus, which the textfile collector of its
//! node exporter reads.

use crate::heaps::Heap;

/// A metric with a value of each heap. A heap whose value is unknown has no line.
struct Metric {
    name: &'static str,
    help: &'static str,
    value: fn(&Heap) -> Option<u64>,
}

const METRICS: [Metric; 8] = [
    Metric {
        name: "dma_heap_size_bytes",
        help: "Memory that the heap allocates from.",
        value: |heap| heap.size,
    },
    Metric {
        name: "dma_heap_used_bytes",
        help: "Memory of the buffers and page arrays of the heap.",
        value: |heap| heap.used,
    },
    Metric {
        name: "dma_heap_buffers",
        help: "Buffers of the heap.",
        value: |heap| heap.buffers,
    },
    Metric {
        name: "dma_heap_pooled_bytes",
        help: "Memory that the heap keeps ready, and gives back when the kernel needs it.",
        value: |heap| heap.pooled,
    },
    Metric {
        name: "dma_heap_free_bytes",
        help: "Free memory of the contiguous area of the heap.",
        value: |heap| heap.free,
    },
    Metric {
        name: "dma_heap_largest_free_bytes",
        help: "Largest free range of the area; where drivers hold memory of it, at most this.",
        value: |heap| heap.largest_free,
    },
    Metric {
        name: "dma_heap_ram_used_bytes",
        help: "Memory of the heap outside of its area, in RAM.",
        value: |heap| heap.beyond,
    },
    Metric {
        name: "dma_heap_could_give_bytes",
        help: "What the heap could give, from its area and from RAM.",
        value: |heap| heap.could_give,
    },
];

/// Returns the text.
pub fn text(heaps: &[Heap]) -> String {
    let mut text = String::new();
    for metric in &METRICS {
        let lines: Vec<String> = heaps
            .iter()
            .filter_map(|heap| {
                let value = (metric.value)(heap)?;
                let label = label(&heap.heap);
                Some(format!("{}{{heap=\"{label}\"}} {value}\n", metric.name))
            })
            .collect();
        if !lines.is_empty() {
            let Metric { name, help, .. } = metric;
            text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
            text += &lines.concat();
        }
    }
    text
}

/// Escapes the value of a label.
fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_have_no_line() {
        let heaps = [
            Heap {
                heap: "a\"\\\n".into(),
                used: Some(4096),
                ..Heap::default()
            },
            Heap {
                heap: "b".into(),
                ..Heap::default()
            },
        ];
        assert_eq!(
            text(&heaps),
            "# HELP dma_heap_used_bytes Memory of the buffers and page arrays of the heap.\n\
             # TYPE dma_heap_used_bytes gauge\n\
             dma_heap_used_bytes{heap=\"a\\\"\\\\\\n\"} 4096\n"
        );
    }
}
