//! Compares texts that users read with their snapshots, the files in `tests/snapshots/`. No other
//! test compares a wording.
//!
//! The unit tests of the crate include this file too.

use std::fmt::{Display, Write};

/// Compares a text with its snapshot.
pub fn assert_text(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// Compares entries with their snapshot, a catalogue: each has a case, and below it the text that
/// users read in this case.
pub fn assert_catalogue<C: Display, T: Display>(
    name: &str,
    entries: impl IntoIterator<Item = (C, T)>,
) {
    let mut catalogue = String::new();
    for (case, text) in entries {
        let text = text.to_string().replace('\n', "\n    ");
        write!(catalogue, "{case}\n    {text}\n\n").expect("writing to a string cannot fail");
    }

    assert_text(name, &catalogue);
}
