//! Texts that many rows have, each stored once: states, hashes, names of units and machines.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::Text;

/// The texts that are in use.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: HashSet<Text>,
    /// How many there may be until those that nobody uses any more are dropped.
    limit: usize,
}

impl Words {
    /// The shared copy of a text.
    pub(super) fn share(&mut self, text: &str) -> Text {
        if let Some(word) = self.words.get(text) {
            return word.clone();
        }

        if self.words.len() >= self.limit {
            self.words.retain(|word| Arc::strong_count(word) > 1);
            self.limit = (self.words.len() * 2).max(1024);
        }
        let word = Text::from(text);
        self.words.insert(word.clone());
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_stored_once() {
        let mut words = Words::default();
        let first = words.share("running");

        assert!(Arc::ptr_eq(&first, &words.share("running")));
        assert_eq!(&*words.share("exited"), "exited");
    }

    #[test]
    fn what_nobody_uses_any_more_is_dropped() {
        let mut words = Words::default();
        let kept = words.share("kept");
        for number in 0..10_000 {
            words.share(&format!("passing {number}"));
        }

        assert!(words.words.len() <= 1025, "{}", words.words.len());
        assert!(Arc::ptr_eq(&kept, &words.share("kept")));
    }
}
