//! Placeholder that the next commit replaces.
fn main() {}
