//! What users read, as snapshots: files in `tests/snapshots/`, and the only place where tests know
//! a wording.
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

/// Compares entries with their snapshot, a catalogue: what was given, and below it what users read
/// then.
pub fn assert_catalogue<G: Display, S: Display>(
    name: &str,
    entries: impl IntoIterator<Item = (G, S)>,
) {
    let mut catalogue = String::new();
    for (given, said) in entries {
        let said = said.to_string().replace('\n', "\n    ");
        write!(catalogue, "{given}\n    {said}\n\n").expect("a string takes all");
    }
    assert_text(name, &catalogue);
}
