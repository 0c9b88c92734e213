//! Names chosen by the application.

use super::error::{PostgresStoreError, Reason};

/// The names of a schema and a table in it, validated for use in statements.
#[derive(Clone, Debug)]
pub(super) struct Names {
    schema: String,
    table: String,
}

impl Names {
    pub(super) fn new(schema: &str, table: &str) -> Result<Self, PostgresStoreError> {
        // Defense in depth: valid names need no quoting, and all names are quoted anyway.
        let checked = |what, name: &str| match is_plain(name) {
            true => Ok(name.to_owned()),
            false => Err(PostgresStoreError::from(Reason::Name { what, max: MAX_LENGTH })),
        };
        Ok(Self { schema: checked("schema", schema)?, table: checked("table", table)? })
    }

    /// Returns the schema, unquoted.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns the name of the table of sessions, unquoted.
    pub(super) fn plain_table(&self) -> &str {
        &self.table
    }

    /// Returns the table of sessions, qualified with its schema and quoted.
    pub(super) fn table(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    /// Returns the name of the table that holds the schema version, unquoted.
    pub(super) fn version_table(&self) -> String {
        format!("{}_version", self.table)
    }

    /// The same with its schema, quoted.
    pub(super) fn quoted_version_table(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.version_table()))
    }

    /// Returns the table of changes, with its schema, quoted.
    pub(super) fn changes(&self) -> String {
        self.beside("changes")
    }

    /// Returns the table that is emptied when the server crashes, with its schema, quoted.
    pub(super) fn epoch(&self) -> String {
        self.beside("epoch")
    }

    /// Returns another name beside the table, with its schema, quoted.
    pub(super) fn beside(&self, suffix: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&format!("{}_{suffix}", self.table)))
    }

    /// The name of an index, quoted; it is always in its table's schema.
    pub(super) fn index(&self, suffix: &str) -> String {
        quoted(&format!("{}_{suffix}", self.table))
    }
}

fn is_plain(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(of_name)
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// PostgreSQL truncates names to 63 bytes; the longest suffix takes 11.
const MAX_LENGTH: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_quoted() {
        let names = Names::new("Auth-2", "user_sessions").expect("valid names");
        assert_eq!(names.table(), r#""Auth-2"."user_sessions""#);
        assert_eq!(names.version_table(), "user_sessions_version");
        assert_eq!(names.index("by_subject"), r#""user_sessions_by_subject""#);
        assert!(Names::new("a", &"t".repeat(MAX_LENGTH)).is_ok());
    }

    #[test]
    fn other_names_are_refused_with_advice() {
        let long = "t".repeat(MAX_LENGTH + 1);
        for name in ["", "a b", "a.b", "a\"b", "a'b", "a;b", "a\0b", "a\\b", "a$b", "\u{e9}", &long] {
            for (schema, table, what) in [(name, "sessions", "schema"), ("public", name, "table")] {
                let error = Names::new(schema, table).expect_err(name).to_string();
                assert!(error.contains(what) && error.contains("letters"), "{error}");
            }
        }
    }
}
