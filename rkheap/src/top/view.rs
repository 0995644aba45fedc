// SPDX-License-Identifier: GPL-2.0

//! The screen of `top`: its state, the keys, and the drawing.

use super::sums::{
    Growth,
    Row,
    Sample,
    Sort, //
};
use crate::arguments::By;
use crate::text;
use ratatui::crossterm::event::{
    KeyCode,
    KeyEvent,
    KeyEventKind,
    KeyModifiers, //
};
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

/// Minimum width of the screen for the column with the number of buffers.
const WIDE_SCREEN: u16 = 56;

const KEYS: &str = "h heap  p process  e exporter  g growth  s size  r reset  space stop  q end";
const KEYS_NARROW: &str = "h p e  g s  r  space  q";

/// The action that a key requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    None,
    /// Draw the screen.
    Redraw,
    /// Take a new sample and draw the screen.
    Resample,
    Quit,
}

/// The state of the screen.
pub struct View {
    pub by: By,
    pub sort: Sort,
    /// Whether periodic updates are stopped.
    pub stopped: bool,
    colored: bool,
    /// Index of the first visible row.
    first_row: usize,
    growth: Growth,
    sample: Sample,
    rows: Vec<Row>,
}

impl View {
    /// Creates the state before the first sample.
    pub fn new(by: By, colored: bool) -> Self {
        View {
            by,
            sort: Sort::Growth,
            stopped: false,
            colored,
            first_row: 0,
            growth: Growth::default(),
            sample: Sample::default(),
            rows: Vec::new(),
        }
    }

    /// Shows a new sample.
    pub fn update(&mut self, sample: Sample) {
        self.sample = sample;
        self.sort_rows();
    }

    fn sort_rows(&mut self) {
        self.rows = self.growth.rows(&self.sample, self.sort);
        self.first_row = self.first_row.min(self.rows.len().saturating_sub(1));
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => Action::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Action::Quit,
            KeyCode::Char('h') => self.group_by(By::Heap),
            KeyCode::Char('p') => self.group_by(By::Process),
            KeyCode::Char('e') => self.group_by(By::Exporter),
            KeyCode::Char('g') => self.sort_by(Sort::Growth),
            KeyCode::Char('s') => self.sort_by(Sort::Size),
            KeyCode::Char('r') => {
                self.growth.reset();
                Action::Resample
            }
            KeyCode::Char(' ') => {
                self.stopped = !self.stopped;
                Action::Redraw
            }
            KeyCode::Down => self.scroll(self.first_row.saturating_add(1)),
            KeyCode::Up => self.scroll(self.first_row.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(self.first_row.saturating_add(10)),
            KeyCode::PageUp => self.scroll(self.first_row.saturating_sub(10)),
            KeyCode::Home => self.scroll(0),
            _ => Action::None,
        }
    }

    fn group_by(&mut self, by: By) -> Action {
        if self.by != by {
            self.by = by;
            self.first_row = 0;
            // Growth is only meaningful between samples of the same grouping.
            self.growth.reset();
        }
        Action::Resample
    }

    fn sort_by(&mut self, sort: Sort) -> Action {
        self.sort = sort;
        self.sort_rows();
        Action::Redraw
    }

    fn scroll(&mut self, first: usize) -> Action {
        self.first_row = first.min(self.rows.len().saturating_sub(1));
        Action::Redraw
    }

    /// Draws the screen.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [top, middle, note, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(u16::from(!self.sample.remarks.is_empty())),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(Line::styled(self.title(), bold)), top);
        self.draw_table(frame, middle);
        if let Some(remark) = self.sample.remarks.first() {
            frame.render_widget(Paragraph::new(text::escaped(remark)), note);
        }
        let keys = if usize::from(bottom.width) < KEYS.len() {
            KEYS_NARROW
        } else {
            KEYS
        };
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        frame.render_widget(Paragraph::new(keys).style(reversed), bottom);
    }

    fn title(&self) -> String {
        let sort = match self.sort {
            Sort::Growth => "growth",
            Sort::Size => "size",
        };
        format!(
            "rkheap: {}, {}, by {}, sorted by {sort}{}",
            text::plural(self.sample.buffers, "buffer"),
            text::size(self.sample.bytes),
            self.by.name(),
            if self.stopped { ", stopped" } else { "" }
        )
    }

    fn draw_table(&self, frame: &mut Frame<'_>, area: Rect) {
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
        let visible_rows = usize::from(area.height.saturating_sub(1));
        let rows = self
            .rows
            .iter()
            .skip(self.first_row)
            .take(visible_rows)
            .map(|row| {
                let cells = cells(
                    row.label(),
                    row.buffers.to_string(),
                    text::size(row.bytes),
                    text::difference(row.grown_bytes),
                );
                if row.grown_bytes > 0 && self.colored {
                    cells.style(Style::new().fg(Color::Red))
                } else {
                    cells
                }
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
