//! Stores texts that occur in many rows only once: states, hashes, names of units and machines. It
//! does not know what a text means.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::Text;

/// How many texts there may be before the first clean-up.
const MIN_LIMIT: usize = 1024;

/// The texts that are in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: HashSet<Text>,
    /// At this number of texts, those that are no longer used are dropped.
    limit: usize,
}

impl Interner {
    /// The shared copy of a text.
    pub(super) fn share(&mut self, text: &str) -> Text {
        if let Some(shared) = self.texts.get(text) {
            return shared.clone();
        }

        if self.texts.len() >= self.limit {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.limit = (self.texts.len() * 2).max(MIN_LIMIT);
        }
        let shared = Text::from(text);
        self.texts.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_stored_once() {
        let mut interner = Interner::default();
        let first = interner.share("running");

        assert!(Arc::ptr_eq(&first, &interner.share("running")));
        assert_eq!(&*interner.share("exited"), "exited");
    }

    #[test]
    fn a_text_that_nobody_uses_any_more_is_dropped() {
        let mut interner = Interner::default();
        let kept = interner.share("kept");
        for number in 0..10_000 {
            interner.share(&format!("passing {number}"));
        }

        assert!(interner.texts.len() <= MIN_LIMIT + 1, "{}", interner.texts.len());
        assert!(Arc::ptr_eq(&kept, &interner.share("kept")));
    }
}
