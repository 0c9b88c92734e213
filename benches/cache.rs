//! Measures the cost and benefit of caching verified tokens, alone and under attack: `cargo bench --bench cache`.
//!
//! All rows are interleaved within one run; compare them as ratios.

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
/// The tokens of active, legitimate users.
const LEGITIMATE: usize = 512;
/// Valid tokens of other users, or forged ones: many times the capacity of the cache.
const HOSTILE: usize = 20_000;
const THREADS: usize = 8;

type Row = (&'static str, Box<dyn FnMut() -> f64>);

fn main() {
    let key = Key::generate(Algorithm::HS256).expect("not RSA");
    let legitimate = tokens(&key, 0..LEGITIMATE);
    let valid = tokens(&key, LEGITIMATE..LEGITIMATE + HOSTILE);
    let other = Key::generate(Algorithm::HS256).expect("not RSA");
    let forged = tokens(&other, 0..HOSTILE);

    let mut rows: Vec<Row> = vec![
        ("uncached token, no cache", {
            let (verifier, tokens) = (verifier(&key, 0), valid.clone());
            Box::new(move || time(&verifier, &tokens[..2000]))
        }),
        ("uncached token, inserted into a full cache, which evicts another", {
            let (verifier, tokens) = (verifier(&key, 1 << 20), valid.clone());
            let mut begin = 0;
            Box::new(move || {
                begin = (begin + 2000) % HOSTILE;
                time(&verifier, &tokens[begin..begin + 2000])
            })
        }),
        ("hit, one token", {
            let (verifier, tokens) = (verifier(&key, DEFAULT), vec![legitimate[0].clone(); 2000]);
            Box::new(move || time(&verifier, &tokens))
        }),
        ("hit, 512 tokens", hits(&key, &legitimate, Vec::new())),
        ("hit, 512 tokens, with 20,000 other valid tokens per round", hits(&key, &legitimate, valid)),
        ("hit, 512 tokens, with 20,000 forged tokens per round", hits(&key, &legitimate, forged)),
        ("hit, one token, 8 concurrent threads, per core", contended(&key, &legitimate[..1])),
        ("hit, 512 tokens, 8 concurrent threads, per core", contended(&key, &legitimate)),
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

/// Returns the nanoseconds per verification of `tokens`, whether they are accepted or not.
fn time(verifier: &Verifier<()>, tokens: &[String]) -> f64 {
    let began = Instant::now();
    for token in tokens {
        let _ = black_box(verifier.verify(token));
    }
    began.elapsed().as_nanos() as f64 / tokens.len() as f64
}

/// Measures the requests of legitimate users while `hostile` tokens arrive between them.
fn hits(key: &Key, legitimate: &[String], hostile: Vec<String>) -> Box<dyn FnMut() -> f64> {
    let (verifier, legitimate) = (verifier(key, DEFAULT), legitimate.to_vec());
    Box::new(move || {
        for chunk in hostile.chunks(1000) {
            time(&verifier, &legitimate);
            time(&verifier, chunk);
        }
        // Refills the processor's caches, which any other work would have evicted as well.
        time(&verifier, &legitimate);
        (0..4).map(|_| time(&verifier, &legitimate)).sum::<f64>() / 4.0
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
        // The time that one core spends per verification.
        began.elapsed().as_nanos() as f64 * cores / (THREADS * each) as f64
    })
}
