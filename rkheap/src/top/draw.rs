// SPDX-License-Identifier: GPL-2.0

//! The drawing of the screen of `top`.

use super::gauges::WIDE_SCREEN;
use super::sums::Sort;
use super::view::{
    Page,
    View, //
};
use crate::buffer::total_size;
use crate::text;
use ratatui::layout::{
    Constraint,
    Layout,
    Rect, //
};
use ratatui::style::{
    Color,
    Modifier,
    Style, //
};
use ratatui::text::Line;
use ratatui::widgets::{
    Cell,
    Paragraph,
    Row as Cells,
    Table, //
};
use ratatui::Frame;

/// Number of lines that the areas leave to the rest.
const REST_HEIGHT: u16 = 8;

const KEYS: &str =
    "h heap  p process  e exporter  g growth  s size  enter open  / filter  ? help  q end";
const KEYS_SHORT: &str = "h p e  g s r  enter open  / filter  ? help  q end";
const KEYS_NARROW: &str = "h p e  g s  r  space  / ? q";
const KEYS_OF_PAGES: &str = "arrows scroll  w save  esc back  q end";

impl View {
    /// Draws the screen.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let gauges = u16::try_from(self.gauges.len()).unwrap_or(u16::MAX);
        let note = self.note();
        let [top, gauge_area, middle, note_area, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(gauges.min(area.height.saturating_sub(REST_HEIGHT))),
            Constraint::Min(1),
            Constraint::Length(u16::from(note.is_some())),
            Constraint::Length(1),
        ])
        .areas(area);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(Line::styled(self.title(), bold)), top);
        let width = usize::from(area.width);
        let lines: Vec<Line> = self
            .gauges
            .iter()
            .map(|gauge| Line::from(gauge.line(width)))
            .collect();
        frame.render_widget(Paragraph::new(lines), gauge_area);
        self.height = usize::from(middle.height.saturating_sub(1));
        match self.page {
            Page::Sums => self.draw_table(frame, middle),
            Page::Buffers(_) | Page::Help => self.draw_lines(frame, middle),
        }
        if let Some(note) = note {
            frame.render_widget(Paragraph::new(note), note_area);
        }
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let fits = |keys: &&str| keys.len() <= usize::from(bottom.width);
        let keys = match self.page {
            Page::Sums => [KEYS, KEYS_SHORT]
                .into_iter()
                .find(fits)
                .unwrap_or(KEYS_NARROW),
            Page::Buffers(_) | Page::Help => KEYS_OF_PAGES,
        };
        frame.render_widget(Paragraph::new(keys).style(reversed), bottom);
    }

    /// Returns the line above the keys: what was done, the filter, or what is missing.
    fn note(&self) -> Option<String> {
        let filter = || {
            let is_shown = self.is_typing || !self.filter.is_empty();
            let end = if self.is_typing { "_" } else { "" };
            is_shown.then(|| format!("/{}{end}", text::escaped(&self.filter)))
        };
        let remark = || {
            self.sample
                .remarks
                .first()
                .map(|remark| text::escaped(remark))
        };
        self.message.clone().or_else(filter).or_else(remark)
    }

    fn title(&self) -> String {
        let sort = match self.sort {
            Sort::Growth => "growth",
            Sort::Size => "size",
        };
        let stopped = if self.stopped { ", stopped" } else { "" };
        match &self.page {
            Page::Buffers(key) => format!("rkheap: buffers of {}{stopped}", key.label()),
            Page::Help => format!("rkheap {}: help", env!("CARGO_PKG_VERSION")),
            Page::Sums => format!(
                "rkheap: {}, {}, by {}, sorted by {sort}{stopped}",
                text::plural(self.sample.buffers.len(), "buffer"),
                text::size(total_size(&self.sample.buffers)),
                self.by.name(),
            ),
        }
    }

    /// Draws the heading of a page, and the lines from the first visible one.
    fn draw_lines(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut lines = self.lines().into_iter();
        let heading = lines.next().map(|heading| Line::styled(heading, bold));
        let last_first = lines.len().saturating_sub(self.height.max(1));
        self.first = self.first.min(last_first);
        let rest = lines.skip(self.first).take(self.height).map(Line::from);
        let lines: Vec<Line> = heading.into_iter().chain(rest).collect();
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let wide = area.width >= WIDE_SCREEN;
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let right = |text: String| Cell::from(Line::from(text).right_aligned());
        let cells = |name: String, buffers: String, size: String, grown: String| {
            let mut cells = vec![Cell::from(name)];
            if wide {
                cells.push(right(buffers));
            }
            cells.extend([right(size), right(grown)]);
            Cells::new(cells)
        };
        let heading = cells(
            self.by.heading().into(),
            "BUFFERS".into(),
            "SIZE".into(),
            "GROWN".into(),
        );
        let cursor = self.cursor();
        // The cursor is visible, and so is the end as far as there is place.
        let last_first = self.rows.len().saturating_sub(self.height);
        self.first = self
            .first
            .min(cursor)
            .max((cursor + 1).saturating_sub(self.height))
            .min(last_first);
        let rows = self
            .rows
            .iter()
            .enumerate()
            .skip(self.first)
            .take(self.height);
        let rows = rows.map(|(index, row)| {
            let mut style = Style::new();
            if row.grown_bytes > 0 && self.colored {
                style = style.fg(Color::Red);
            }
            if index == cursor {
                style = style.add_modifier(Modifier::REVERSED);
            }
            cells(
                row.label(),
                row.buffers.to_string(),
                text::size(row.bytes),
                text::difference(row.grown_bytes),
            )
            .style(style)
        });
        let mut widths = vec![Constraint::Min(10)];
        if wide {
            widths.push(Constraint::Length(8));
        }
        let size = if wide { 13 } else { 10 };
        widths.extend([Constraint::Length(size); 2]);
        frame.render_widget(Table::new(rows, widths).header(heading.style(bold)), area);
    }
}
