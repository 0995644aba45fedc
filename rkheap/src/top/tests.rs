// SPDX-License-Identifier: GPL-2.0

//! Tests of the screen and of its keys.

use super::gauges::tests::gauge;
use super::save::{
    self,
    Format, //
};
use super::sums::tests::processes;
use super::view::{
    Action,
    View, //
};
use crate::arguments::By;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    KeyCode,
    KeyEvent,
    KeyModifiers, //
};
use ratatui::style::Modifier;
use ratatui::Terminal;

/// A screen with processes, and what is on it.
struct Screen {
    view: View,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new(width: u16, height: u16) -> Self {
        let mut view = View::new(By::Process, true);
        let list: Vec<(u32, String, u64)> = (1..=20)
            .map(|pid| (pid, format!("task-{pid:02}"), 4096 * u64::from(40 - pid)))
            .collect();
        let list: Vec<_> = list
            .iter()
            .map(|(pid, name, size)| (*pid, &name[..], *size))
            .collect();
        view.update(processes(&list), &[gauge("reserved", &[1 << 20, 8 << 20])]);
        Screen {
            view,
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        }
    }

    fn press(&mut self, code: KeyCode) -> Action {
        self.view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            self.press(KeyCode::Char(character));
        }
    }

    fn draw(&mut self) -> String {
        let drawn = self.terminal.draw(|frame| self.view.draw(frame)).unwrap();
        save::as_text(drawn.buffer)
    }

    /// Returns the row under the cursor.
    fn cursor(&mut self) -> String {
        self.draw();
        let buffer = self.terminal.backend().buffer();
        let mut rows = buffer.content.chunks(usize::from(buffer.area.width));
        let row = rows
            .find(|row| row[0].modifier.contains(Modifier::REVERSED))
            .unwrap();
        let row: String = row.iter().map(|cell| cell.symbol()).collect();
        row.split(' ').next().unwrap().to_owned()
    }

    /// Returns the names of the visible rows.
    fn rows(&mut self) -> Vec<String> {
        let text = self.draw();
        let rows = text.lines().filter_map(|line| line.split(' ').next());
        rows.filter(|name| name.starts_with("task-"))
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn the_cursor_moves_and_scrolls() {
    let mut screen = Screen::new(80, 12);
    assert_eq!(screen.cursor(), "task-01");
    let visible = screen.rows().len();
    assert!((5..10).contains(&visible), "{visible}");
    for _ in 0..visible {
        screen.press(KeyCode::Down);
    }
    assert_eq!(screen.cursor(), format!("task-{:02}", visible + 1));
    assert_eq!(screen.rows()[0], "task-02");
    screen.press(KeyCode::Up);
    assert_eq!(screen.rows()[0], "task-02");
    screen.press(KeyCode::End);
    assert_eq!(screen.cursor(), "task-20");
    assert_eq!(screen.rows().len(), visible);
    screen.press(KeyCode::PageUp);
    assert_eq!(screen.cursor(), format!("task-{:02}", 20 - visible));
    screen.press(KeyCode::Home);
    screen.press(KeyCode::Up);
    assert_eq!(screen.cursor(), "task-01");
}

#[test]
fn the_cursor_stays_on_its_process() {
    let mut screen = Screen::new(80, 24);
    screen.press(KeyCode::Down);
    assert_eq!(screen.cursor(), "task-02");
    let sample = processes(&[(2, "task-02", 1), (3, "task-03", 1 << 30)]);
    screen.view.update(sample, &[]);
    assert_eq!(screen.rows(), ["task-03", "task-02"]);
    assert_eq!(screen.cursor(), "task-02");
    screen
        .view
        .update(processes(&[(3, "task-03", 1 << 30)]), &[]);
    assert_eq!(screen.cursor(), "task-03");
}

#[test]
fn a_filter_leaves_what_contains_it() {
    let mut screen = Screen::new(80, 24);
    screen.type_text("/TASK-1q");
    assert!(screen.draw().contains("/TASK-1q_"));
    assert!(screen.rows().is_empty());
    screen.press(KeyCode::Backspace);
    assert_eq!(screen.rows().len(), 10);
    screen.press(KeyCode::Enter);
    // Keys are keys again, and the filter is kept.
    assert_eq!(screen.press(KeyCode::Char('q')), Action::Quit);
    assert_eq!(screen.rows().len(), 10);
    assert_eq!(screen.press(KeyCode::Esc), Action::Redraw);
    assert_eq!(screen.rows().len(), 20);
    assert_eq!(screen.press(KeyCode::Esc), Action::Quit);
}

#[test]
fn enter_shows_the_buffers_of_a_process() {
    let mut screen = Screen::new(80, 24);
    screen.press(KeyCode::Down);
    screen.press(KeyCode::Enter);
    let text = screen.draw();
    assert!(
        text.starts_with("rkheap: buffers of task-02 (2)\n"),
        "{text}"
    );
    assert!(text.contains("frame of task-02  system  152 KiB"), "{text}");
    assert!(text.contains("2:task-02 (1 fd)"), "{text}");
    assert!(!text.contains("task-01"), "{text}");
    // Keys of the sums have no meaning here.
    assert_eq!(screen.press(KeyCode::Char('h')), Action::None);
    assert_eq!(screen.press(KeyCode::Esc), Action::Redraw);
    assert_eq!(screen.cursor(), "task-02");
}

#[test]
fn a_page_that_gets_shorter_stays_filled() {
    let mut screen = Screen::new(80, 12);
    let holding = |count| processes(&vec![(1, "task-01", 4096); count]);
    screen.view.update(holding(40), &[]);
    screen.press(KeyCode::Enter);
    screen.draw();
    screen.press(KeyCode::End);
    assert!(screen.draw().contains("frame of task-01"));
    screen.view.update(holding(3), &[]);
    assert_eq!(screen.draw().matches("frame of task-01").count(), 3);
}

#[test]
fn help_explains_each_key_and_scrolls() {
    let mut screen = Screen::new(80, 30);
    screen.press(KeyCode::Char('?'));
    let text = screen.draw();
    for line in ["enter  ", "/  ", "h  p  e", "g  s", "w  W", "GROWN is"] {
        assert!(text.contains(&format!("\n{line}")), "{line}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 78),
        "{text}"
    );
    let mut screen = Screen::new(80, 10);
    screen.press(KeyCode::Char('?'));
    assert!(!screen.draw().contains("GROWN is"));
    screen.press(KeyCode::End);
    assert!(screen.draw().contains("GROWN is"));
    screen.press(KeyCode::Char('?'));
    assert_eq!(screen.cursor(), "task-01");
}

#[test]
fn areas_have_bars_and_sparklines() {
    let text = Screen::new(80, 24).draw();
    let gauge = text.lines().nth(1).unwrap();
    assert_eq!(
        gauge,
        "reserved               [######......]     8 MiB of 16 MiB    ▁█"
    );
    // A small screen has no place for them.
    assert!(!Screen::new(80, 8).draw().contains("reserved"));
}

#[test]
fn any_size_can_be_drawn() {
    for width in [1, 2, 20, 39, 56, 79, 200] {
        for height in [1, 2, 3, 5, 9, 50] {
            let mut screen = Screen::new(width, height);
            for key in [KeyCode::End, KeyCode::Enter, KeyCode::End, KeyCode::Esc] {
                screen.press(key);
                screen.draw();
            }
        }
    }
}

#[test]
fn keys_save_the_screen() {
    let mut screen = Screen::new(80, 24);
    let actions = ['w', 'W'].map(|key| screen.press(KeyCode::Char(key)));
    assert_eq!(
        actions,
        [Action::Save(Format::Text), Action::Save(Format::Svg)]
    );
    screen.view.message = Some("saved as x".into());
    assert!(screen.draw().contains("\nsaved as x\n"));
    screen.press(KeyCode::Down);
    assert!(!screen.draw().contains("saved as x"));
}
