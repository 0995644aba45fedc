// SPDX-License-Identifier: GPL-2.0

//! `top` on a terminal, which is put back as it was however this ends.

use super::sums::Look;
use super::view::{
    Effect,
    View, //
};
use super::PATIENCE;
use crate::arguments::Top;
use crate::output::Output;
use crate::system::System;
use anyhow::{
    Context,
    Result, //
};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    self,
    Event, //
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    disable_raw_mode,
    enable_raw_mode,
    EnterAlternateScreen,
    LeaveAlternateScreen, //
};
use ratatui::Terminal;
use std::io::{
    stdout,
    Stdout, //
};
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::time::{
    Duration,
    Instant, //
};

/// The terminal, taken over as long as this lives.
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn open() -> Result<Self> {
        enable_raw_mode().context("cannot take over the terminal")?;
        // From here on it is put back, also where the next step fails.
        let restored = Restored;
        execute!(stdout(), EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        std::mem::forget(restored);
        Ok(Screen(terminal))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(Restored);
    }
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

pub fn run(system: &System, output: Output, options: &Top, ended: &AtomicBool) -> Result<()> {
    let interval = Duration::from_secs_f64(options.interval);
    let mut view = View::new(options.by, output.is_coloured());
    view.update(Look::take(system, view.by));
    let mut screen = Screen::open()?;
    let mut looked = Instant::now();
    let mut effect = Effect::Draw;
    while !ended.load(Ordering::Relaxed) && effect != Effect::End {
        if effect == Effect::Look || (!view.stopped && looked.elapsed() >= interval) {
            view.update(Look::take(system, view.by));
            looked = Instant::now();
            effect = Effect::Draw;
        }
        if effect == Effect::Draw {
            screen
                .0
                .draw(|frame| view.draw(frame))
                .context("cannot draw on the terminal")?;
        }
        effect = Effect::Nothing;
        let left = interval.saturating_sub(looked.elapsed());
        if event::poll(left.clamp(Duration::from_millis(1), PATIENCE))? {
            effect = match event::read()? {
                Event::Key(key) => view.key(key),
                // The terminal asks for its new size by itself when it is drawn on.
                Event::Resize(..) => Effect::Draw,
                _ => Effect::Nothing,
            };
        }
    }
    Ok(())
}
