//! What users can see, through the public API only: a module per concept.

mod stores;
