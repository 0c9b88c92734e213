//! Lists of strings and inner lists with parameters (RFC 9651), as far as the protocol uses them.

use http::HeaderMap;

/// A member of a list: its value, without quotes, and its parameters.
pub(super) struct Member {
    pub(super) item: String,
    parameters: Vec<(String, String)>,
}

impl Member {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// Returns the members of the list in all headers of this name.
pub(super) fn members<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = Member> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(|text| split(text, ','))
        .filter_map(|member| {
            let mut parts = split(member, ';').into_iter();
            let item = unquoted(parts.next()?);
            let parameters = parts.filter_map(|part| {
                let (name, value) = part.split_once('=')?;
                Some((name.trim().to_owned(), unquoted(value)))
            });
            Some(Member { item, parameters: parameters.collect() })
        })
}

/// Splits a text, except within quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            character if character == at && !is_quoted => {
                parts.push(&text[from..index]);
                from = index + at.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}
