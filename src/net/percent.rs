//! What is escaped in a part of a URL. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// All characters but the unreserved ones (RFC 3986, section 2.3).
pub(crate) const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
