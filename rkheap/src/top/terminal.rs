// SPDX-License-Identifier: GPL-2.0

//! The interactive mode of `top`. The terminal is restored on every exit.

use super::gauges::Gauges;
use super::save;
use super::sums::Sample;
use super::view::{
    Action,
    View, //
};
use crate::arguments::Top;
use crate::interruption::{
    self,
    Interruption, //
};
use crate::output::Output;
use crate::system::System;
use crate::text;
use anyhow::{
    Context,
    Result, //
};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
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
use std::time::{
    Duration,
    Instant, //
};

/// The terminal in raw mode. Dropping this restores the terminal.
#[must_use]
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn open() -> Result<Self> {
        enable_raw_mode().context("cannot set the terminal to raw mode")?;
        // Restores the terminal if one of the next steps fails.
        let restore = RestoreOnDrop;
        execute!(stdout(), EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        std::mem::forget(restore);
        Ok(Screen(terminal))
    }

    /// Draws a view. Returns what is on the screen.
    fn draw(&mut self, view: &mut View) -> Result<&Buffer> {
        let drawn = self.0.draw(|frame| view.draw(frame));
        Ok(drawn.context("cannot draw on the terminal")?.buffer)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(RestoreOnDrop);
    }
}

/// Restores the terminal when dropped.
#[must_use]
struct RestoreOnDrop;

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Runs until the user quits, or a signal arrives.
pub fn run(
    system: &System,
    output: Output,
    options: &Top,
    interruption: &Interruption,
) -> Result<()> {
    let interval = Duration::from_secs_f64(options.interval);
    let mut view = View::new(options.by, output.is_colored());
    let mut gauges = Gauges::new(system);
    let mut sample = |view: &mut View| {
        gauges.update(system);
        view.update(Sample::take(system, view.by), &gauges.all);
    };
    sample(&mut view);
    let mut screen = Screen::open()?;
    let mut sampled_at = Instant::now();
    let mut action = Action::Redraw;
    while !interruption.has_come() && action != Action::Quit {
        if action == Action::Resample || (!view.stopped && sampled_at.elapsed() >= interval) {
            sample(&mut view);
            sampled_at = Instant::now();
            action = Action::Redraw;
        }
        if action == Action::Redraw {
            screen.draw(&mut view)?;
        }
        action = Action::None;
        let remaining = interval.saturating_sub(sampled_at.elapsed());
        if event::poll(remaining.clamp(Duration::from_millis(1), interruption::POLL_INTERVAL))? {
            action = match event::read()? {
                Event::Key(key) => match view.key(key) {
                    Action::Save(format) => {
                        let drawn = screen.draw(&mut view)?;
                        view.message = Some(match save::save(drawn, format) {
                            Ok(name) => format!("saved as {name}"),
                            Err(error) => text::escaped(&format!("{error:#}")),
                        });
                        Action::Redraw
                    }
                    action => action,
                },
                // Drawing reads the new size.
                Event::Resize(..) => Action::Redraw,
                _ => Action::None,
            };
        }
    }
    Ok(())
}
