//! Aligned columns from text with tabs, by the rules of Go's `text/tabwriter`: a cell ends at a tab, a column is as wide as the
//! widest of its adjacent cells, what follows the last tab of a line belongs to no column.

/// Blanks between two columns.
const PADDING: usize = 3;

const BLANKS: &str = "                                                                ";

/// `text` with its tabs replaced by blanks. Widths are counted in characters.
pub(super) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    measure(&lines, &mut widths, 0..lines.len(), 0);
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (at, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(at) {
                let mut missing = width.saturating_sub(cell.chars().count());
                while missing > 0 {
                    let blanks = &BLANKS[..missing.min(BLANKS.len())];
                    out.push_str(blanks);
                    missing -= blanks.len();
                }
            }
        }
        out.push('\n');
    }
    out
}

/// Sets the widths of column `column` and those right of it, for the lines in `range`.
fn measure(lines: &[Vec<&str>], widths: &mut [Vec<usize>], range: std::ops::Range<usize>, column: usize) {
    let mut start = range.start;
    while start < range.end {
        let length = lines[start..range.end].iter().take_while(|cells| column + 1 < cells.len()).count();
        if length == 0 {
            start += 1;
            continue;
        }
        let block = start..start + length;
        let widest = lines[block.clone()].iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        for line in &mut widths[block.clone()] {
            line[column] = widest + PADDING;
        }
        measure(lines, widths, block.clone(), column + 1);
        start = block.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cases = [
            ("A\tB\n", "A   B\n"),
            ("NAME\tTAG\tID\nlocalhost/bb\tlatest\t1\n", "NAME           TAG      ID\nlocalhost/bb   latest   1\n"),
            ("ä\tb\nccc\td\n", "ä     b\nccc   d\n"),
            ("one\n", "one\n"),
            ("a\tb\nplain\nlonger\tc\n", "a   b\nplain\nlonger   c\n"),
            ("a\t\n", "a   \n"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(align(text), want, "{text:?}");
        }
    }
}
