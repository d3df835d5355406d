//! Columns as Go's tabwriter lays them out with runc's settings.

use std::fmt::Write as _;

/// A column is at least so wide.
const MIN_WIDTH: usize = 12;
/// Spaces after the widest cell of a column.
const PADDING: usize = 3;

/// The rows as lines; every column but the last is padded to one width.
pub fn render<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count() + PADDING).max();
        widest.unwrap_or(0).max(MIN_WIDTH)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            // A String takes every write.
            let _ = match column + 1 == N {
                true => writeln!(out, "{cell}"),
                false => write!(out, "{cell:<width$}", width = widths[column]),
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_twelve_wide_or_the_widest_cell_and_three() {
        let rows = [
            ["ID", "BUNDLE", "OWNER"].map(str::to_owned),
            ["a", "/tmp/w/a-long-bundle", "root"].map(str::to_owned),
        ];
        assert_eq!(
            render(&rows),
            "ID          BUNDLE                 OWNER\n\
             a           /tmp/w/a-long-bundle   root\n"
        );
    }
}
