//! Texts as PostgreSQL keeps them: it has no NUL.

use std::borrow::Cow;

/// The text without NUL: U+0001 begins an escape, and texts without either stay as they are, so
/// that operators can read them.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains([NUL, ESCAPE]) {
        return Cow::Borrowed(text);
    }
    // U+0001 first: those that stand for NUL come after it.
    Cow::Owned(text.replace(ESCAPE, "\u{1}1").replace(NUL, "\u{1}0"))
}

/// The text that was escaped; `None` when there never was one.
pub(super) fn unescape(stored: String) -> Option<Box<str>> {
    if !stored.contains(ESCAPE) {
        return Some(stored.into_boxed_str());
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            ESCAPE => match characters.next()? {
                '0' => NUL,
                '1' => ESCAPE,
                _ => return None,
            },
            other => other,
        });
    }
    Some(text.into_boxed_str())
}

const NUL: char = '\0';
const ESCAPE: char = '\u{1}';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_survives_without_nul(text in "[\\x00\\x01\\x0201a\u{1f980}]{0,12}", other in ".*") {
            for text in [text, other] {
                let stored = escape(&text).into_owned();
                prop_assert!(!stored.contains('\0'));
                prop_assert_eq!(unescape(stored), Some(text.into_boxed_str()));
            }
        }

        #[test]
        fn what_can_be_unescaped_is_its_escape(stored in "[\\x0101a]{0,8}") {
            if let Some(text) = unescape(stored.clone()) {
                prop_assert_eq!(escape(&text), stored);
            }
        }
    }

    #[test]
    fn ordinary_texts_stay_as_they_are() {
        for text in ["", "ada", "{\"role\":\"admin\"}", "\u{1f980}", "\\0 \\u0001"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(escape("a\0b\u{1}c"), "a\u{1}0b\u{1}1c");
    }

    #[test]
    fn a_broken_escape_is_noticed() {
        for stored in ["\u{1}", "a\u{1}", "\u{1}2", "\u{1}\u{1}1", "\u{1}00\u{1}"] {
            assert_eq!(unescape(stored.to_owned()), None, "{stored:?}");
        }
    }
}
