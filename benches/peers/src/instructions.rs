//! Accepted requests in a number that is given, for a tool that counts instructions.

use jsonwebtoken::Algorithm;
use tower::Layer;

use crate::{
    drive::{Answer, drive, inner},
    fixture::{self, Requests},
    ours::{self, Cache},
};

/// Sends `count` requests of this kind through all three layers, with a token that has been seen before.
pub(crate) fn send(kind: &str, count: usize) {
    let token = fixture::token(Algorithm::HS256, 0);
    let requests = match kind {
        "cookie" => Requests::with_cookie(&token),
        "post" => Requests::with_cookie(&token).post(),
        "header" => Requests::with_bearer(&token),
        _ => panic!("unknown kind {kind}: choose from cookie, post, header"),
    };
    let mut send = drive(ours::sessions(Cache::On).layer().layer(inner()), requests, Answer::Passed);
    for _ in 0..count {
        drop(send());
    }
}
