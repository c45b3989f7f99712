//! A number with its noun.
//!
//! It does not know what is counted.

/// `1 unit`, `2 units`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
