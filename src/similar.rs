//! Finds the known word that was probably meant by an unknown one. Pure.

/// The lowest [`similarity`] at which a known word is suggested.
const SIMILAR: f64 = 0.6;

/// How many bytes of a word have to be right for a suggestion that is only based on its beginning.
const MIN_PREFIX: usize = 3;

/// The known word that was probably meant: the most similar one; or else the first that begins with
/// `word`; or else the longest with which `word` begins.
pub(crate) fn similar<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Option<&'a str> {
    let known = known.into_iter();

    let longer = || {
        known
            .clone()
            .find(|known| word.len() >= MIN_PREFIX && known.starts_with(word))
    };
    let shorter = || {
        known
            .clone()
            .filter(|known| known.len() >= MIN_PREFIX && word.starts_with(known))
            .max_by_key(|known| known.len())
    };

    most_similar(word, known.clone()).or_else(longer).or_else(shorter)
}

/// The most similar of the known words, if it is similar enough to be suggested.
pub(crate) fn most_similar<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (similarity(word, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// 1 for equal texts, 0 for texts that have nothing in common.
fn similarity(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_word_or_one_with_the_same_beginning_is_suggested() {
        let known = ["warn", "info", "token_file", "token_format", "port"];
        for (word, meant) in [
            ("inof", Some("info")),
            ("wran", Some("warn")),
            ("token", Some("token_file")),
            ("warning", Some("warn")),
            ("port_of_the_server", Some("port")),
            ("to", None),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(similar(word, known), meant, "{word}");
        }
    }
}
