//! A cache of unit files by their hash. Pure.
//!
//! A hash stands for one content for ever, so an entry never becomes wrong. It is removed only to
//! make room, the one that was used longest ago first. The cache must not know how a file is read.

use std::collections::HashMap;

use super::UnitFileVersion;
use crate::cluster::Text;

/// How many files are kept.
pub(super) const MAX_FILES: usize = 256;

/// How many bytes all files that are kept may have.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The files that were read last.
#[derive(Debug, Default)]
pub(super) struct UnitFileCache {
    files: HashMap<Text, CachedFile>,
    /// The bytes of all contents.
    bytes: usize,
    /// Counts uses.
    uses: u64,
}

#[derive(Debug)]
struct CachedFile {
    content: Text,
    /// The number of its last use.
    last_use: u64,
}

impl UnitFileCache {
    /// The file with this hash.
    pub(super) fn get(&mut self, hash: &Text) -> Option<UnitFileVersion> {
        self.uses += 1;
        let file = self.files.get_mut(hash)?;
        file.last_use = self.uses;
        Some(UnitFileVersion { hash: hash.clone(), content: file.content.clone() })
    }

    /// Keeps a file, and removes others if there are too many.
    pub(super) fn insert(&mut self, file: &UnitFileVersion) {
        self.uses += 1;
        self.bytes += file.content.len();
        let entry = CachedFile { content: file.content.clone(), last_use: self.uses };
        if let Some(before) = self.files.insert(file.hash.clone(), entry) {
            self.bytes -= before.content.len();
        }

        while self.files.len() > MAX_FILES || self.bytes > MAX_BYTES {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let oldest = self.files.iter().min_by_key(|(_, file)| file.last_use);
        let Some(hash) = oldest.map(|(hash, _)| hash.clone()) else {
            return;
        };
        if let Some(removed) = self.files.remove(&hash) {
            self.bytes -= removed.content.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(hash: usize, bytes: usize) -> UnitFileVersion {
        UnitFileVersion {
            hash: hash.to_string().into(),
            content: "x".repeat(bytes).into(),
        }
    }

    #[test]
    fn the_file_that_was_used_longest_ago_makes_room() {
        let mut cache = UnitFileCache::default();
        for hash in 0..MAX_FILES {
            cache.insert(&file(hash, 10));
        }
        assert_eq!(cache.get(&"0".into()), Some(file(0, 10)));

        cache.insert(&file(MAX_FILES, 10));

        assert_eq!(cache.files.len(), MAX_FILES);
        assert!(cache.get(&"0".into()).is_some());
        assert_eq!(cache.get(&"1".into()), None);
    }

    #[test]
    fn its_bytes_are_bounded_and_a_file_that_is_there_twice_counts_once() {
        let mut cache = UnitFileCache::default();
        for hash in [1, 1, 2, 3] {
            cache.insert(&file(hash, MAX_BYTES / 3));
        }
        assert_eq!(cache.files.len(), 3);

        cache.insert(&file(4, MAX_BYTES / 2));
        assert!(cache.bytes <= MAX_BYTES);
        assert_eq!(cache.bytes, MAX_BYTES / 3 + MAX_BYTES / 2);

        cache.insert(&file(5, MAX_BYTES + 1));
        assert_eq!((cache.files.len(), cache.bytes), (0, 0));
    }
}
