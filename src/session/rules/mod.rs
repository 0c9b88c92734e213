//! The rules of the rotation, as plain functions over plain values: no store, no clock, no HTTP.
//!
//! What a request's token means ([`decide`]), how the record moves on ([`successor`], [`confirmation`]) and
//! which cookies may go on the response ([`admit`]). The exhaustive model in `tests/model` compiles these
//! very files, so they use nothing of the crate but [`SessionRecord`](crate::store::SessionRecord).

mod admit;
mod advance;
mod decide;

pub use self::decide::LostResponse;
pub(crate) use self::{
    admit::{Admission, admit},
    advance::{confirmation, successor},
    decide::{Rules, Verdict, decide},
};
