//! Measures the cost of a request with `tower-cookie-jwt`, with its peers, and at the theoretical limit.
//!
//! All candidates use the same token and claims in one process. They are interleaved in short slices, and the tables
//! contain medians over many rounds. Only figures from the same run are comparable.

mod counting;
mod drive;
mod fixture;
mod future_size;
mod growth;
mod hand;
mod hot_path;
mod instructions;
mod interleaved;
mod loopback;
mod others;
mod ours;
mod table;
mod users;
mod verdict;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["hot-path"] => hot_path::print(),
        ["users"] => users::print(),
        ["growth", ref parts @ ..] => growth::print(parts),
        ["size"] => future_size::print(),
        ["instructions", kind, count] => instructions::send(kind, count.parse().expect("a number")),
        ["serve", candidate] => loopback::serve(candidate),
        ["header", name] => println!("{}", loopback::header(name)),
        _ => {
            eprintln!(
                "usage: peers hot-path | users | growth [PART…] | size | instructions cookie|post|header COUNT \
                 | serve bare|hand|ours|followed | header cookie|xsrf"
            );
            std::process::exit(2);
        }
    }
}
