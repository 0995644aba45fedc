// SPDX-License-Identifier: GPL-2.0

//! The state of the screen of `top`, and the keys that change it.

use super::details;
use super::gauges::Gauge;
use super::save::Format;
use super::sums::{
    Growth,
    Key,
    Row,
    Sample,
    Sort, //
};
use crate::arguments::By;
use ratatui::crossterm::event::{
    KeyCode,
    KeyEvent,
    KeyEventKind,
    KeyModifiers, //
};

const HELP: &str = "\
KEYS
arrows, page up, page down, home, end   move
enter           the buffers of what is under the cursor
/               only what contains a text; enter keeps it, esc ends it
h  p  e         sums by heap, by process, by exporter
g  s            sort by growth, by size
r               growth from now on
space           stop and resume
w  W            save the screen as text, as SVG, into the current folder
?               this help
esc             back
q               end

A line above the table is an area, or RAM: what is used of it, and how that
was in the last minute at one sample a second. The highest of it is the scale.
GROWN is since the start, or since r.";

/// The action that a key requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    None,
    /// Draw the screen.
    Redraw,
    /// Take a new sample and draw the screen.
    Resample,
    /// Save the screen as it is.
    Save(Format),
    Quit,
}

/// What the middle of the screen shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The sums.
    #[default]
    Sums,
    /// The buffers of a group.
    Buffers(Key),
    Help,
}

/// The state of the screen.
pub struct View {
    pub by: By,
    pub sort: Sort,
    /// Whether periodic updates are stopped.
    pub stopped: bool,
    pub(super) colored: bool,
    pub(super) page: Page,
    /// Only rows whose names contain this text are shown.
    pub(super) filter: String,
    /// Whether keys are characters of the filter.
    pub(super) is_typing: bool,
    /// The group under the cursor; the first if `None`, or if it is not there any more.
    cursor: Option<Key>,
    /// Index of the first visible line.
    pub(super) first: usize,
    /// Number of lines that the last drawing had place for.
    pub(super) height: usize,
    /// What the last key has done.
    pub message: Option<String>,
    pub gauges: Vec<Gauge>,
    growth: Growth,
    pub(super) sample: Sample,
    pub(super) rows: Vec<Row>,
}

impl View {
    /// Creates the state before the first sample.
    pub fn new(by: By, colored: bool) -> Self {
        View {
            by,
            sort: Sort::Growth,
            stopped: false,
            colored,
            page: Page::default(),
            filter: String::new(),
            is_typing: false,
            cursor: None,
            first: 0,
            height: 10,
            message: None,
            gauges: Vec::new(),
            growth: Growth::default(),
            sample: Sample::default(),
            rows: Vec::new(),
        }
    }

    /// Shows a new sample.
    pub fn update(&mut self, sample: Sample, gauges: &[Gauge]) {
        self.sample = sample;
        self.gauges = gauges.to_vec();
        self.sort_rows();
    }

    fn sort_rows(&mut self) {
        let filter = self.filter.to_lowercase();
        self.rows = self.growth.rows(&self.sample, self.sort);
        self.rows
            .retain(|row| row.label().to_lowercase().contains(&filter));
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::None;
        }
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Action::Quit,
                _ => Action::None,
            };
        }
        if self.is_typing {
            return self.type_filter(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('w') => return Action::Save(Format::Text),
            KeyCode::Char('W') => return Action::Save(Format::Svg),
            KeyCode::Char(' ') => self.stopped = !self.stopped,
            KeyCode::Down => self.move_by(1),
            KeyCode::Up => self.move_by(-1),
            KeyCode::PageDown => self.move_by(self.page_height()),
            KeyCode::PageUp => self.move_by(-self.page_height()),
            KeyCode::Home => self.move_by(isize::MIN),
            KeyCode::End => self.move_by(isize::MAX),
            code => {
                return match self.page {
                    Page::Sums => self.key_of_sums(code),
                    // Whatever opened it closes it, too.
                    Page::Buffers(_) | Page::Help => match code {
                        KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Char('?') => {
                            self.open(Page::Sums)
                        }
                        _ => Action::None,
                    },
                };
            }
        }
        Action::Redraw
    }

    /// Handles a key that has a meaning among sums only.
    fn key_of_sums(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Esc if self.filter.is_empty() => return Action::Quit,
            KeyCode::Esc => {
                self.filter.clear();
                self.sort_rows();
            }
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('?') => return self.open(Page::Help),
            KeyCode::Enter => match self.rows.get(self.cursor()) {
                Some(row) => return self.open(Page::Buffers(row.key.clone())),
                None => return Action::None,
            },
            KeyCode::Char('h') => return self.group_by(By::Heap),
            KeyCode::Char('p') => return self.group_by(By::Process),
            KeyCode::Char('e') => return self.group_by(By::Exporter),
            KeyCode::Char('g') => self.sort_by(Sort::Growth),
            KeyCode::Char('s') => self.sort_by(Sort::Size),
            KeyCode::Char('r') => {
                self.growth.reset();
                return Action::Resample;
            }
            _ => return Action::None,
        }
        Action::Redraw
    }

    fn type_filter(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(character) => self.filter.push(character),
            _ => return Action::None,
        }
        self.sort_rows();
        Action::Redraw
    }

    fn open(&mut self, page: Page) -> Action {
        self.page = page;
        self.first = 0;
        Action::Redraw
    }

    fn group_by(&mut self, by: By) -> Action {
        if self.by != by {
            self.by = by;
            self.first = 0;
            self.cursor = None;
            // Growth is only meaningful between samples of the same grouping.
            self.growth.reset();
        }
        Action::Resample
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.sort_rows();
    }

    /// Returns the index of the row under the cursor.
    pub(super) fn cursor(&self) -> usize {
        let key = self.cursor.as_ref();
        let index = key.and_then(|key| self.rows.iter().position(|row| row.key == *key));
        index.unwrap_or(0)
    }

    fn page_height(&self) -> isize {
        isize::try_from(self.height).unwrap_or(1).max(1)
    }

    /// Moves the cursor among sums, and else the text.
    fn move_by(&mut self, lines: isize) {
        if self.page == Page::Sums {
            let last = self.rows.len().saturating_sub(1);
            let index = self.cursor().saturating_add_signed(lines).min(last);
            // At the top it stays there, whatever comes first.
            self.cursor = match index {
                0 => None,
                _ => self.rows.get(index).map(|row| row.key.clone()),
            };
        } else {
            // The drawing knows the end.
            self.first = self.first.saturating_add_signed(lines);
        }
    }

    /// Returns the heading and the lines of a page that is not the sums.
    pub(super) fn lines(&self) -> Vec<String> {
        match &self.page {
            Page::Sums => Vec::new(),
            Page::Help => HELP.lines().map(str::to_owned).collect(),
            Page::Buffers(key) => details::lines(&self.sample, key),
        }
    }
}
