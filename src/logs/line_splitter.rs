//! Splits a stream into lines. Pure: it knows neither a socket nor what a line means.

/// The largest line that is kept, in bytes. An entry of the journal is one line of JSON, in which
/// systemd leaves out each field of 4,096 bytes or more (systemd 252, `src/shared/logs-show.c`).
const MAX_LINE: usize = 256 * 1024;

/// Collects the parts of a stream until a line is complete.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    partial: Vec<u8>,
    /// Whether the line that has begun is longer than [`MAX_LINE`], so that its rest is skipped.
    is_skipping: bool,
}

/// A line of the stream, without its line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamLine<'a> {
    /// A line that is complete.
    Complete(&'a [u8]),
    /// A line that is longer than 256 KiB, of which nothing is kept.
    TooLong,
}

impl LineSplitter {
    /// Passes each line that is complete with these bytes to `take`.
    pub(super) fn split(&mut self, mut bytes: &[u8], mut take: impl FnMut(StreamLine<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.end_line(line, &mut take);
            bytes = rest;
        }

        self.collect(bytes);
    }

    fn end_line(&mut self, end: &[u8], take: &mut impl FnMut(StreamLine<'_>)) {
        if self.partial.is_empty() && !self.is_skipping && end.len() <= MAX_LINE {
            return take(StreamLine::Complete(end));
        }

        self.collect(end);
        if self.is_skipping {
            take(StreamLine::TooLong);
        } else {
            take(StreamLine::Complete(&self.partial));
        }
        // The memory is given back: few lines are that long.
        *self = Self::default();
    }

    fn collect(&mut self, bytes: &[u8]) {
        if self.is_skipping {
            return;
        }

        if self.partial.len() + bytes.len() > MAX_LINE {
            self.partial = Vec::new();
            self.is_skipping = true;
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<Option<String>> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for part in parts {
            splitter.split(part, |line| {
                lines.push(match line {
                    StreamLine::Complete(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
                    StreamLine::TooLong => None,
                });
            });
        }
        lines
    }

    #[test]
    fn a_line_is_the_same_wherever_the_stream_is_cut() {
        let text = b"{\"a\":1}\n\nlast\nrest";
        let expected = ["{\"a\":1}", "", "last"].map(|line| Some(line.to_owned()));

        for first in 0..=text.len() {
            for second in first..=text.len() {
                let parts = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(lines(&parts), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_not() {
        let long = vec![b'x'; MAX_LINE + 1];
        let whole = [&long[..], b"\nnext\n"].concat();
        let expected = [None, Some("next".to_owned())];

        assert_eq!(lines(&[&whole]), expected);
        assert_eq!(lines(&[&long[..MAX_LINE], b"x", b"\nne", b"xt\n"]), expected);
        assert_eq!(lines(&[&long[1..], b"\n"])[0].as_ref().map(String::len), Some(MAX_LINE));
    }
}
