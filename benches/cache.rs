//! What remembering verified tokens costs and saves, alone and under attack: `cargo bench --bench cache`.
//!
//! All rows take turns within one run; read them as ratios.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use tower_cookie_jwt::{
    KeyRing, Verifier,
    keys::{Algorithm, Key},
    token::{Issuer, NewToken},
};

const ROUNDS: usize = 41;
/// Users at work.
const HONEST: usize = 512;
/// Of one user each, or nobody's: many times what the cache holds.
const HOSTILE: usize = 20_000;
const THREADS: usize = 8;

type Row = (&'static str, Box<dyn FnMut() -> f64>);

fn main() {
    let key = Key::generate(Algorithm::HS256).expect("not RSA");
    let honest = tokens(&key, 0..HONEST);
    let valid = tokens(&key, HONEST..HONEST + HOSTILE);
    let other = Key::generate(Algorithm::HS256).expect("not RSA");
    let forged = tokens(&other, 0..HOSTILE);

    let mut rows: Vec<Row> = vec![
        ("a token seen for the first time, no cache", {
            let (verifier, tokens) = (verifier(&key, 0), valid.clone());
            Box::new(move || time(&verifier, &tokens[..2000]))
        }),
        ("the same, put into a full cache, another evicted", {
            let (verifier, tokens) = (verifier(&key, 1 << 20), valid.clone());
            let mut begin = 0;
            Box::new(move || {
                begin = (begin + 2000) % HOSTILE;
                time(&verifier, &tokens[begin..begin + 2000])
            })
        }),
        ("hit, one token", {
            let (verifier, tokens) = (verifier(&key, DEFAULT), vec![honest[0].clone(); 2000]);
            Box::new(move || time(&verifier, &tokens))
        }),
        ("hit, 512 tokens", hits(&key, &honest, Vec::new())),
        ("hit, 512 tokens, after 20,000 other valid ones since the last round", hits(&key, &honest, valid)),
        ("hit, 512 tokens, after 20,000 forged ones since the last round", hits(&key, &honest, forged)),
        ("hit, one token, 8 threads at once, each", contended(&key, &honest[..1])),
        ("hit, 512 tokens, 8 threads at once, each", contended(&key, &honest)),
    ];
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, run), times) in rows.iter_mut().zip(&mut times) {
            times.push(run());
        }
    }
    println!("| one verification | ns |\n|---|---:|");
    for ((name, _), mut times) in rows.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} |", times[ROUNDS / 2]);
    }
}

fn verifier(key: &Key, cache_bytes: usize) -> Verifier<()> {
    Verifier::builder(KeyRing::new(key.clone()).expect("it signs"))
        .with_cache_bytes(cache_bytes)
        .build()
        .expect("the settings agree")
}

/// The default of `VerifierBuilder::with_cache_bytes`.
const DEFAULT: usize = 8 << 20;

fn tokens(key: &Key, subjects: std::ops::Range<usize>) -> Vec<String> {
    let issuer =
        Issuer::new(KeyRing::new(key.clone()).expect("it signs")).with_issuer("https://shop.example");
    let new = |subject: usize| {
        NewToken::access(format!("user-{subject}"), Duration::from_secs(36_000))
            .with_session_id(format!("session-{subject:016}"))
            .with_xsrf_token("0123456789abcdefghijklmn")
    };
    subjects.map(|subject| issuer.issue(&new(subject), &()).expect("it is small")).collect()
}

/// Nanoseconds for each of `tokens`, accepted or not.
fn time(verifier: &Verifier<()>, tokens: &[String]) -> f64 {
    let began = Instant::now();
    for token in tokens {
        let _ = black_box(verifier.verify(token));
    }
    began.elapsed().as_nanos() as f64 / tokens.len() as f64
}

/// The users at work, while a stream of `hostile` tokens passes between any two of their requests.
fn hits(key: &Key, honest: &[String], hostile: Vec<String>) -> Box<dyn FnMut() -> f64> {
    let (verifier, honest) = (verifier(key, DEFAULT), honest.to_vec());
    Box::new(move || {
        for chunk in hostile.chunks(1000) {
            time(&verifier, &honest);
            time(&verifier, chunk);
        }
        // Once to have what they need in the processor's caches again, which any other work takes as well.
        time(&verifier, &honest);
        (0..4).map(|_| time(&verifier, &honest)).sum::<f64>() / 4.0
    })
}

fn contended(key: &Key, tokens: &[String]) -> Box<dyn FnMut() -> f64> {
    let (verifier, tokens) = (verifier(key, DEFAULT), tokens.to_vec());
    let cores = thread::available_parallelism().map_or(1, usize::from).min(THREADS) as f64;
    Box::new(move || {
        let began = Instant::now();
        let each = 20_000;
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for turn in 0..each {
                        let _ = black_box(verifier.verify(&tokens[turn % tokens.len()]));
                    }
                });
            }
        });
        // What a core spends on one.
        began.elapsed().as_nanos() as f64 * cores / (THREADS * each) as f64
    })
}
