//! What a request costs in `tower-cookie-jwt`, beside its peers and beside the limit.
//!
//! One token, one set of claims, one process; the contenders take turns in short slices, and the
//! tables give medians over many rounds. Compare figures of one run only.

mod counting;
mod drive;
mod fixture;
mod future_size;
mod growth;
mod hand;
mod hot_path;
mod interleaved;
mod loopback;
mod others;
mod ours;
mod table;
mod verdict;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["hot-path"] => hot_path::print(),
        ["growth", ref parts @ ..] => growth::print(parts),
        ["size"] => future_size::print(),
        ["serve", contender] => loopback::serve(contender),
        ["header", name] => println!("{}", loopback::header(name)),
        _ => {
            eprintln!(
                "usage: peers hot-path | growth [PART…] | size | serve bare|hand|ours | header cookie|xsrf"
            );
            std::process::exit(2);
        }
    }
}
