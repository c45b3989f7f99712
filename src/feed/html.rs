//! Text within HTML.
//!
//! It does not know what the text is, nor on which page it stands.

use std::fmt;

/// Formats any text so that it is text in HTML too, in an element or in a quoted attribute.
pub(crate) struct HtmlText<'a>(pub(crate) &'a str);

impl fmt::Display for HtmlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;

        while let Some(special) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..special])?;
            f.write_str(match rest.as_bytes()[special] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[special + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        for (text, html) in [
            ("", ""),
            ("größe.service", "größe.service"),
            (
                r#"<script>alert("1 & 2")</script>"#,
                "&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;",
            ),
            ("' onclick='x", "&#39; onclick=&#39;x"),
            ("&amp;", "&amp;amp;"),
            ("ü<ü", "ü&lt;ü"),
        ] {
            assert_eq!(HtmlText(text).to_string(), html);
        }
    }
}
