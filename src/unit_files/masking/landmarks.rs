//! Finds characters further on in a text. It keeps what it has found: many places of the text have
//! the same next colon, and to look for it from each of them could take forever. Pure.

use super::count;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Landmark {
    Blank,
    Colon,
    Equals,
    SingleQuote,
    DoubleQuote,
}

/// The number of variants.
const LANDMARKS: usize = 5;

impl Landmark {
    pub(super) fn of_quote(quote: char) -> Self {
        match quote {
            '\'' => Landmark::SingleQuote,
            _ => Landmark::DoubleQuote,
        }
    }

    fn is(self, character: char) -> bool {
        match self {
            Landmark::Blank => character.is_whitespace(),
            Landmark::Colon => character == ':',
            Landmark::Equals => character == '=',
            Landmark::SingleQuote => character == '\'',
            Landmark::DoubleQuote => character == '"',
        }
    }
}

/// Where landmarks of a text are.
pub(super) struct Positions<'a> {
    text: &'a str,
    /// Of each landmark: from where it was looked for last, and where the next one was.
    found: [Option<(usize, usize)>; LANDMARKS],
    /// The end of the word in which an `@` was looked for last, and the last `@` in it.
    at_sign: Option<(usize, Option<usize>)>,
}

impl<'a> Positions<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: [None; LANDMARKS], at_sign: None }
    }

    /// Where the next one is. The length of the text if there is none.
    pub(super) fn next(&mut self, landmark: Landmark, from: usize) -> usize {
        let from = from.min(self.text.len());
        let found = &mut self.found[landmark as usize];
        if let Some((begin, position)) = *found
            && (begin..=position).contains(&from)
        {
            return position;
        }

        let rest = &self.text[from..];
        let length = rest.find(|next| landmark.is(next)).unwrap_or(rest.len());
        count(length);
        *found = Some((from, from + length));
        from + length
    }

    /// Where the next blank or quote is.
    pub(super) fn end_of_word(&mut self, from: usize) -> usize {
        [Landmark::Blank, Landmark::SingleQuote, Landmark::DoubleQuote]
            .map(|landmark| self.next(landmark, from))
            .into_iter()
            .fold(self.text.len(), usize::min)
    }

    /// Where the last `@` of this word is.
    pub(super) fn last_at_sign(&mut self, from: usize) -> Option<usize> {
        let end = self.end_of_word(from);
        let position = match self.at_sign {
            Some((known, position)) if known == end => position,
            _ => {
                count(end - from);
                let position = self.text[from..end].rfind('@').map(|at_sign| from + at_sign);
                self.at_sign = Some((end, position));
                position
            }
        };
        position.filter(|position| *position >= from)
    }
}
