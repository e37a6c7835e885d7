//! Tables for people: columns as wide as their content, numbers to the right.

use std::fmt;

/// A table with a heading. Rows may be added while it is wide open; widths are found when it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

/// The side of a column on which its content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = (impl Into<String>, Side)>) -> Self {
        let columns = columns.into_iter().map(|(name, side)| (name.into(), side)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Cells beyond the last column are not shown, missing ones are empty.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns[column].0.chars().count();
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading]).max().unwrap_or(heading)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let line = |f: &mut fmt::Formatter<'_>, cell: &dyn Fn(usize) -> String| {
            let cells = self.columns.iter().enumerate().map(|(column, (_, side))| {
                let (text, width) = (cell(column), widths[column]);
                match side {
                    Side::Left => format!("{text:<width$}"),
                    Side::Right => format!("{text:>width$}"),
                }
            });
            let cells: Vec<String> = cells.collect();
            writeln!(f, "{}", cells.join("  ").trim_end())
        };
        line(f, &|column| self.columns[column].0.clone())?;
        line(f, &|column| "-".repeat(widths[column]))?;
        for row in &self.rows {
            line(f, &|column| row.get(column).cloned().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let mut table = Table::new([("block", Side::Left), ("gas", Side::Right)]);
        table.push(["mainnet 97".to_owned(), "0".to_owned()]);
        table.push(["x".to_owned(), "21,000".to_owned()]);
        let expected = ["block          gas", "----------  ------", "mainnet 97       0", "x           21,000", ""];
        assert_eq!(table.to_string(), expected.join("\n"));
    }

    #[test]
    fn a_short_row_leaves_the_rest_empty() {
        let mut table = Table::new([("block", Side::Left), ("gas", Side::Right)]);
        table.push(["x".to_owned()]);
        assert_eq!(table.to_string().lines().last(), Some("x"));
    }
}
