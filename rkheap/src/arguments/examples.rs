// SPDX-License-Identifier: GPL-2.0

//! The examples at the end of help texts and manual pages.

pub(super) const LS: &str = "\
Examples:
  rkheap ls
  rkheap ls --heaps
  rkheap ls --format prometheus > /var/lib/prometheus/node-exporter/dma-heaps.prom";

pub(super) const TOP: &str = "\
Examples:
  rkheap top --by heap
  rkheap top --once | head -20
  rkheap --json top --interval 10 > log.jsonl";

pub(super) const PEAK: &str = "\
Examples:
  sudo rkheap peak -- ffmpeg -i in.mp4 -f null -
  sudo rkheap --json peak -- ./camera-test";

pub(super) const LEAK: &str = "\
Examples:
  rkheap leak -- ffmpeg -i in.mp4 -f null -
  rkheap snapshot > before; …; rkheap leak --since before
  rkheap leak --watch --pid 1234 --limit 64M
  sudo rkheap leak --stacks -- ./camera-test";

pub(super) const WATCH: &str = "\
Examples:
  rkheap watch --out sums.csv --interval 10
  rkheap plot sums.csv --svg sums.svg";

pub(super) const MAP: &str = "\
Examples:
  sudo rkheap map rk-dma-heap-cma
  sudo rkheap map cma --advanced --svg cma.svg";

pub(super) const ALLOC: &str = "\
Examples:
  rkheap alloc system 8M
  rkheap alloc cma 1M --count 16 --name test --hold 10";

pub(super) const DOCTOR: &str = "\
Examples:
  rkheap doctor
  sudo rkheap doctor mpp";
