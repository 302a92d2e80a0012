//! What somebody may have meant by a word that isn't known.

/// Words that are longer are no slip of anything.
const LENGTH_MOST: usize = 64;

/// The known word that is nearest, if one is near enough.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LENGTH_MOST {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let near = known.map(|known| (distance(&word, &plain(known)), known));
    let (slips, known) = near.min()?;
    (slips <= (word.len() / 3).clamp(1, 3) && slips < word.len()).then_some(known)
}

/// How many letters must be exchanged, added or left out to make one word of the other; two that
/// changed places count as one.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_other_words_are_not() {
        let known = ["building", "id", "port", "point", "serial"];
        for (word, meant) in [
            ("bulding", Some("building")),
            ("Building", Some("building")),
            ("prot", Some("port")),
            ("points", Some("point")),
            ("di", Some("id")),
            ("x", None),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}
