// SPDX-License-Identifier: GPL-2.0

//! Saves the screen of `top` as text or as SVG.

use crate::svg::xml_escaped;
use anyhow::{
    Context,
    Result, //
};
use ratatui::buffer::{
    Buffer,
    Cell, //
};
use ratatui::style::{
    Color,
    Modifier, //
};
use std::fs::OpenOptions;
use std::io::Write;
use std::time::SystemTime;

/// The size of a character of the drawing.
const WIDTH: f64 = 8.4;
const HEIGHT: u16 = 18;

/// What a screen is saved as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Svg,
}

/// Writes a screen to a new file in the current folder. Returns the name of the file.
pub fn save(screen: &Buffer, format: Format) -> Result<String> {
    let (content, suffix) = match format {
        Format::Text => (as_text(screen), "txt"),
        Format::Svg => (as_svg(screen), "svg"),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let name = format!(
        "rkheap-top-{}.{suffix}",
        now.unwrap_or_default().as_millis()
    );
    // Neither a file nor a link of another user is followed or replaced.
    let file = OpenOptions::new().write(true).create_new(true).open(&name);
    file.and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {name}"))?;
    Ok(name)
}

fn rows(screen: &Buffer) -> impl Iterator<Item = &[Cell]> {
    screen.content.chunks(usize::from(screen.area.width).max(1))
}

/// Returns the characters of a screen.
pub fn as_text(screen: &Buffer) -> String {
    let lines = rows(screen).map(|row| {
        let line: String = row.iter().map(Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// Draws a screen as it is on a terminal.
pub fn as_svg(screen: &Buffer) -> String {
    let width = f64::from(screen.area.width) * WIDTH;
    let height = u32::from(screen.area.height) * u32::from(HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" \
         viewBox=\"0 0 {width:.0} {height}\" font-family=\"monospace\" font-size=\"14\">\n\
         <title>rkheap top</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#1c1c1c\"/>\n"
    );
    for (y, row) in rows(screen).enumerate() {
        let top = y * usize::from(HEIGHT);
        let mut x = 0;
        for cells in row.chunk_by(|a, b| (a.fg, a.modifier) == (b.fg, b.modifier)) {
            let Some(first) = cells.first() else { continue };
            let text: String = cells.iter().map(Cell::symbol).collect();
            let left = x as f64 * WIDTH;
            let length = cells.len() as f64 * WIDTH;
            x += cells.len();
            let reversed = first.modifier.contains(Modifier::REVERSED);
            if reversed {
                svg += &format!(
                    "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"{HEIGHT}\" \
                     fill=\"#d0d0d0\"/>\n"
                );
            }
            if text.trim().is_empty() {
                continue;
            }
            let color = match (reversed, first.fg) {
                (true, _) => "#1c1c1c",
                (false, Color::Red) => "#ff5f5f",
                (false, _) => "#d0d0d0",
            };
            let weight = match first.modifier.contains(Modifier::BOLD) {
                true => " font-weight=\"bold\"",
                false => "",
            };
            svg += &format!(
                "<text x=\"{left:.1}\" y=\"{}\" fill=\"{color}\"{weight} \
                 textLength=\"{length:.1}\" xml:space=\"preserve\">{}</text>\n",
                top + 14,
                xml_escaped(&text)
            );
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn screen() -> Buffer {
        let mut screen = Buffer::empty(Rect::new(0, 0, 12, 2));
        screen.set_string(0, 0, "<a> & b", Style::new());
        screen.set_string(0, 1, "grown", Style::new().fg(Color::Red));
        screen.set_string(6, 1, "key", Style::new().add_modifier(Modifier::REVERSED));
        screen
    }

    #[test]
    fn text_has_each_line() {
        assert_eq!(as_text(&screen()), "<a> & b\ngrown key\n");
    }

    #[test]
    fn a_drawing_has_colors_and_no_markup_of_names() {
        let svg = as_svg(&screen());
        assert!(svg.contains(">&lt;a&gt; &amp; b"), "{svg}");
        assert!(svg.contains("fill=\"#ff5f5f\""), "{svg}");
        assert!(
            svg.contains("<rect x=\"50.4\" y=\"18\" width=\"25.2\""),
            "{svg}"
        );
        assert!(svg.ends_with("</svg>\n"));
    }
}
