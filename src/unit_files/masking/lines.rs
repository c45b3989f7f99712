//! The logical lines of a unit file: a line that ends with a backslash includes the next one
//! (`systemd.syntax(7)`). Pure.
//!
//! Only this module knows how a line continues. In the text of a logical line, all that stands
//! between its parts is blanks, and each character is where it was.

/// In which way lines continue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuation {
    /// A line continues after an odd number of backslashes at its very end. A comment ends it, as
    /// in old versions of systemd.
    Strict,
    /// A line also continues if blanks or a carriage return follow the backslashes. A comment
    /// within a continued line is passed.
    Lenient,
}

/// One line with those that continue it, or a comment.
pub(super) struct LogicalLine {
    /// Where it begins in the file.
    pub(super) start: usize,
    /// Its text, with blanks in place of backslashes, newlines and comments between its parts
    /// and at its end.
    pub(super) text: String,
}

/// All lines of a text, in the order in which they begin.
pub(super) fn logical_lines(text: &str, continuation: Continuation) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut open: Option<LogicalLine> = None;
    let mut start = 0;

    for line in text.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if is_comment {
            lines.push(LogicalLine { start, text: line.to_owned() });
            match continuation {
                Continuation::Strict => lines.extend(open.take()),
                Continuation::Lenient => {
                    if let Some(open) = &mut open {
                        push_blanks(&mut open.text, line.len());
                    }
                }
            }
        } else {
            let logical = open.get_or_insert_with(|| LogicalLine { start, text: String::new() });
            let (content, tail) = line.split_at(content_length(line));
            logical.text.push_str(content);
            push_blanks(&mut logical.text, tail.len());

            if !continuation.is_at(tail) {
                lines.extend(open.take());
            }
        }
        start += line.len();
    }
    lines.extend(open);
    lines.sort_by_key(|line| line.start);
    lines
}

/// The length of what stands before backslashes, blanks and a newline at the end of a line. Without
/// a backslash there, it is the whole line.
fn content_length(line: &str) -> usize {
    let without_blanks = line.trim_end();
    let content = without_blanks.trim_end_matches('\\');

    if content.len() < without_blanks.len() && line.ends_with('\n') {
        content.len()
    } else {
        line.len()
    }
}

impl Continuation {
    /// Whether a line with this after its content continues.
    fn is_at(self, tail: &str) -> bool {
        let after_backslashes = tail.trim_start_matches('\\');
        let backslashes = tail.len() - after_backslashes.len();

        match self {
            Continuation::Strict => backslashes % 2 == 1 && after_backslashes == "\n",
            Continuation::Lenient => backslashes > 0,
        }
    }
}

fn push_blanks(text: &mut String, count: usize) {
    text.extend(std::iter::repeat_n(' ', count));
}
