//! One line of text that is edited. Pure: it knows neither a terminal nor what the text means.

/// The text, with a place where the next character is inserted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EditLine {
    before: String,
    after: String,
}

/// What a key does to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Insert(char),
    Left,
    Right,
    Start,
    End,
    DeleteBefore,
    DeleteAfter,
    /// Deletes the word before the place.
    DeleteWord,
    /// Deletes everything before the place.
    DeleteToStart,
}

impl EditLine {
    /// A line with this text, to be continued at its end.
    pub(super) fn new(text: &str) -> Self {
        Self { before: text.to_owned(), after: String::new() }
    }

    pub(super) fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Insert(char) => self.before.push(char),
            Edit::Left => {
                if let Some(char) = self.before.pop() {
                    self.after.insert(0, char);
                }
            }
            Edit::Right => {
                if let Some(char) = self.take_after() {
                    self.before.push(char);
                }
            }
            Edit::Start => *self = Self { before: String::new(), after: self.text() },
            Edit::End => *self = Self::new(&self.text()),
            Edit::DeleteBefore => {
                self.before.pop();
            }
            Edit::DeleteAfter => {
                self.take_after();
            }
            Edit::DeleteWord => {
                let words = self.before.trim_end();
                let start = words.rfind(' ').map_or(0, |space| space + 1);
                self.before.truncate(start);
            }
            Edit::DeleteToStart => self.before.clear(),
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    /// The text before the place, and the text after it.
    pub(super) fn parts(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }

    fn take_after(&mut self) -> Option<char> {
        let char = self.after.chars().next()?;
        self.after.remove(0);
        Some(char)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edits: &[Edit]) -> (String, String) {
        let mut line = EditLine::new("state:failed wéb");
        for edit in edits {
            line.apply(*edit);
        }
        let (before, after) = line.parts();
        (before.to_owned(), after.to_owned())
    }

    #[test]
    fn a_line_is_edited_at_its_place() {
        use Edit::*;
        for (edits, before, after) in [
            (&[Insert('!')][..], "state:failed wéb!", ""),
            (&[Left, Left, Insert('x')], "state:failed wx", "éb"),
            (&[Left, Right, Right], "state:failed wéb", ""),
            (&[Left, Left, DeleteAfter, DeleteAfter, DeleteAfter], "state:failed w", ""),
            (&[DeleteBefore, DeleteBefore], "state:failed w", ""),
            (&[DeleteWord], "state:failed ", ""),
            (&[DeleteWord, DeleteWord, DeleteWord], "", ""),
            (&[Left, DeleteToStart], "", "b"),
            (&[Start, Insert('-')], "-", "state:failed wéb"),
            (&[Start, End], "state:failed wéb", ""),
        ] {
            assert_eq!(edited(edits), (before.to_owned(), after.to_owned()), "{edits:?}");
        }
    }
}
