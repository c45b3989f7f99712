//! Stores texts that occur in many rows or events only once: states, hashes, names of units and
//! machines. It does not know what a text means.

use std::collections::HashSet;
use std::sync::Arc;

/// How many texts there may be before the first clean-up.
const MIN_LIMIT: usize = 1024;
/// What a text takes besides its own bytes: two counters in front of it, and a place in the set,
/// which is at least half full.
const BYTES_PER_TEXT: usize = 2 * size_of::<usize>() + 2 * (size_of::<Arc<str>>() + 1);

/// The texts that are in use.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    /// What all texts take, in bytes.
    bytes: usize,
    /// At this number of texts, those that are no longer used are dropped.
    limit: usize,
}

impl Interner {
    /// The shared copy of a text.
    pub(crate) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.texts.get(text) {
            return shared.clone();
        }

        if self.texts.len() >= self.limit {
            self.drop_unused();
        }
        let shared: Arc<str> = text.into();
        self.bytes += size_of_text(&shared);
        self.texts.insert(shared.clone());
        shared
    }

    /// Drops the texts that are no longer used.
    pub(crate) fn drop_unused(&mut self) {
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.bytes = self.texts.iter().map(size_of_text).sum();
        self.limit = (self.texts.len() * 2).max(MIN_LIMIT);
    }

    /// What all texts take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size_of_text(text: &Arc<str>) -> usize {
    text.len() + BYTES_PER_TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_stored_once() {
        let mut interner = Interner::default();
        let first = interner.share("running");
        let bytes = interner.bytes();

        assert!(Arc::ptr_eq(&first, &interner.share("running")));
        assert_eq!(interner.bytes(), bytes);
        assert_eq!(&*interner.share("exited"), "exited");
        assert!(interner.bytes() > bytes);
    }

    #[test]
    fn a_text_that_nobody_uses_any_more_is_dropped() {
        let mut interner = Interner::default();
        let kept = interner.share("kept");
        let bytes = interner.bytes();
        for number in 0..10_000 {
            interner.share(&format!("passing {number}"));
        }

        assert!(interner.texts.len() <= MIN_LIMIT + 1, "{}", interner.texts.len());
        assert!(Arc::ptr_eq(&kept, &interner.share("kept")));
        interner.drop_unused();
        assert_eq!(interner.bytes(), bytes);
    }
}
