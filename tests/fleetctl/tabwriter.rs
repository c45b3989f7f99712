//! Lays out a table as fleetctl does: Go's `text/tabwriter` with tabs as padding, a tab width of 8
//! and a padding of 1.

const TAB: usize = 8;

/// Renders rows of cells. As in Go, a cell that contains a tab or a line break is several cells or
/// lines to the layout.
pub fn render<S: AsRef<str>>(rows: &[Vec<S>]) -> String {
    let text: String = rows
        .iter()
        .map(|row| row.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\t") + "\n")
        .collect();

    let lines: Vec<Vec<&str>> = text
        .split_terminator('\n')
        .map(|line| line.split('\t').collect())
        .collect();

    let widths = widths(&lines);
    let mut rendered = String::new();
    for (line, widths) in lines.iter().zip(&widths) {
        for (column, cell) in line.iter().enumerate() {
            rendered.push_str(cell);
            // The last cell of a line is not part of a column.
            if let Some(width) = widths.get(column) {
                let tabs = (width - cell.chars().count()).div_ceil(TAB);
                rendered.extend(std::iter::repeat_n('\t', tabs));
            }
        }
        rendered.push('\n');
    }
    rendered
}

/// The width of each column in each line. A column spans all neighbouring lines that have it; the
/// last cell of a line is not part of a column.
fn widths(lines: &[Vec<&str>]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|_| Vec::new()).collect();
    for column in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
        let mut first = 0;
        for block in lines.chunk_by(|a, b| (column + 1 < a.len()) == (column + 1 < b.len())) {
            if column + 1 < block[0].len() {
                let widest = block
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0);
                for widths in &mut widths[first..first + block.len()] {
                    widths.push((widest + 1).next_multiple_of(TAB));
                }
            }
            first += block.len();
        }
    }
    widths
}
