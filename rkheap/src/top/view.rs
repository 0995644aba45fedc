// SPDX-License-Identifier: GPL-2.0

//! The screen of `top`: what the user has chosen, what keys do, and how it is drawn.

use super::sums::{
    Growth,
    Look,
    Row,
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

/// Below this width the number of buffers is left out.
const WIDE: u16 = 56;

const KEYS: &str = "h heap  p process  e exporter  g growth  s size  r reset  space stop  q end";
const KEYS_NARROW: &str = "h p e  g s  r  space  q";

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// The screen looks different now.
    Draw,
    /// The system has to be looked at again.
    Look,
    End,
}

/// The screen's state.
pub struct View {
    pub by: By,
    pub sort: Sort,
    pub stopped: bool,
    coloured: bool,
    first: usize,
    growth: Growth,
    look: Look,
    rows: Vec<Row>,
}

impl View {
    pub fn new(by: By, coloured: bool) -> Self {
        View {
            by,
            sort: Sort::Growth,
            stopped: false,
            coloured,
            first: 0,
            growth: Growth::default(),
            look: Look::default(),
            rows: Vec::new(),
        }
    }

    /// Takes what was seen.
    pub fn update(&mut self, look: Look) {
        self.look = look;
        self.sort_rows();
    }

    fn sort_rows(&mut self) {
        self.rows = self.growth.rows(&self.look, self.sort);
        self.first = self.first.min(self.rows.len().saturating_sub(1));
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Effect {
        if key.kind == KeyEventKind::Release {
            return Effect::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => Effect::End,
            KeyCode::Char('q') | KeyCode::Esc => Effect::End,
            KeyCode::Char('h') => self.add_up(By::Heap),
            KeyCode::Char('p') => self.add_up(By::Process),
            KeyCode::Char('e') => self.add_up(By::Exporter),
            KeyCode::Char('g') => self.sort_by(Sort::Growth),
            KeyCode::Char('s') => self.sort_by(Sort::Size),
            KeyCode::Char('r') => {
                self.growth.reset();
                Effect::Look
            }
            KeyCode::Char(' ') => {
                self.stopped = !self.stopped;
                Effect::Draw
            }
            KeyCode::Down => self.scroll(self.first.saturating_add(1)),
            KeyCode::Up => self.scroll(self.first.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(self.first.saturating_add(10)),
            KeyCode::PageUp => self.scroll(self.first.saturating_sub(10)),
            KeyCode::Home => self.scroll(0),
            _ => Effect::Nothing,
        }
    }

    fn add_up(&mut self, by: By) -> Effect {
        if self.by != by {
            self.by = by;
            self.first = 0;
            // Sums of another kind have another past.
            self.growth.reset();
        }
        Effect::Look
    }

    fn sort_by(&mut self, sort: Sort) -> Effect {
        self.sort = sort;
        self.sort_rows();
        Effect::Draw
    }

    fn scroll(&mut self, first: usize) -> Effect {
        self.first = first.min(self.rows.len().saturating_sub(1));
        Effect::Draw
    }

    /// Draws the screen.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [top, middle, note, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(u16::from(!self.look.remarks.is_empty())),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(Line::styled(self.title(), bold)), top);
        self.draw_table(frame, middle);
        if let Some(remark) = self.look.remarks.first() {
            frame.render_widget(Paragraph::new(text::shown(remark)), note);
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
            text::plural(self.look.buffers, "buffer"),
            text::size(self.look.bytes),
            self.by.word(),
            if self.stopped { ", stopped" } else { "" }
        )
    }

    fn draw_table(&self, frame: &mut Frame<'_>, area: Rect) {
        let wide = area.width >= WIDE;
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
        let room = usize::from(area.height.saturating_sub(1));
        let rows = self.rows.iter().skip(self.first).take(room).map(|row| {
            let cells = cells(
                row.shown(),
                row.buffers.to_string(),
                text::size(row.bytes),
                text::difference(row.grown_bytes),
            );
            if row.grown_bytes > 0 && self.coloured {
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
