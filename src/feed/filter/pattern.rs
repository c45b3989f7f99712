//! A pattern of a term, and how it is compared with a text.
//!
//! It does not know what the text is.

use std::borrow::Cow;

use wildmatch::WildMatch;

/// How many characters of an ID are enough to name a machine.
const MIN_ID_PREFIX: usize = 4;

/// What stands at the end of a shortened ID.
const ELLIPSIS: [char; 2] = ['…', '.'];

/// A text or a glob, in lower case. In a glob, `*` matches any number of characters, and `?`
/// exactly one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    text: String,
    /// `None` without glob characters.
    glob: Option<WildMatch>,
}

impl Pattern {
    /// A pattern from its text, which is in lower case.
    pub(super) fn new(text: &str) -> Self {
        let is_glob = text.contains(['*', '?']);

        Self {
            text: text.to_owned(),
            glob: is_glob.then(|| WildMatch::new(text)),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of a text.
    pub(super) fn is(&self, text: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.matches(&lowercase(text)),
            None => self.text.eq_ignore_ascii_case(text),
        }
    }

    /// Whether it is a part of a text; a glob must match the whole of it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.matches(&lowercase(text)),
            None => lowercase(text).contains(&self.text),
        }
    }

    /// Whether it is the beginning of an ID, maybe with an ellipsis behind it.
    pub(super) fn begins_id(&self, id: &str) -> bool {
        let prefix = self.text.trim_end_matches(ELLIPSIS);

        self.glob.is_none() && prefix.len() >= MIN_ID_PREFIX && starts_with(id, prefix)
    }

    /// Whether it ends with a dot, and an address begins with it.
    pub(super) fn is_network_of(&self, address: &str) -> bool {
        self.glob.is_none() && self.text.ends_with('.') && starts_with(address, &self.text)
    }
}

/// The text in lower case, as far as it is ASCII.
fn lowercase(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
