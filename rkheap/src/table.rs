// SPDX-License-Identifier: GPL-2.0

//! Text tables. Each column is as wide as its longest cell.

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table. All cells must be printable.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with these headings.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell per column.
    pub fn add_row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Returns the lines of the table, the heading first. Each line starts with `indent`.
    pub fn lines(&self, indent: &str) -> Vec<String> {
        let width = |index: usize| {
            let heading = self.columns.get(index).map_or(0, |column| column.0.len());
            let texts = self.rows.iter().filter_map(|row| row.get(index));
            texts
                .map(|text| text.chars().count())
                .max()
                .unwrap_or(0)
                .max(heading)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |texts: &mut dyn Iterator<Item = &str>| {
            let mut line = indent.to_owned();
            for ((text, (_, align)), width) in texts.zip(&self.columns).zip(&widths) {
                let fill = " ".repeat(width.saturating_sub(text.chars().count()));
                match align {
                    Align::Left => line += &format!("{text}{fill}  "),
                    Align::Right => line += &format!("{fill}{text}  "),
                }
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![line(&mut self.columns.iter().map(|column| column.0))];
        for row in &self.rows {
            lines.push(line(&mut row.iter().map(String::as_str)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.add_row(vec!["é".into(), "1 KiB".into()]);
        table.add_row(vec!["longer".into(), "2".into()]);
        assert_eq!(
            table.lines(" "),
            [" NAME     SIZE", " é       1 KiB", " longer      2"]
        );
    }
}
