#!/usr/bin/env bash
# Measures what the library adds to a bare axum application: crates, and the time of a cold release build.
# usage: compile_time.sh [crates|time] [ROUNDS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$(cd "$here/../.." && pwd)
what=${1:-all} rounds=${2:-2}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# `jwt` isolates the part that is due to jsonwebtoken and its cryptography.
applications=(bare jwt with)
application() { # name, further dependencies
  mkdir -p "$work/$1/src"
  cp "$library/Cargo.lock" "$work/$1/"
  cat >"$work/$1/Cargo.toml" <<TOML
[workspace]
[package]
name = "$1"
version = "0.0.0"
edition = "2024"
[dependencies]
axum = "0.8"
tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
$2
TOML
  {
    echo '#[tokio::main]'
    echo 'async fn main() {'
    echo '    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();'
    echo '    let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));'
    echo "    $3"
    echo '    axum::serve(listener, app).await.unwrap();'
    echo '}'
  } >"$work/$1/src/main.rs"
}
application bare "" ""
application jwt 'jsonwebtoken = { version = "11", default-features = false, features = ["aws_lc_rs", "use_pem"] }' \
  'let _ = jsonwebtoken::decode_header("");'
application with "tower-cookie-jwt = { path = \"$library\" }" \
  'let keys = tower_cookie_jwt::KeyRing::hs256([7; 32]).unwrap();
    let sessions = tower_cookie_jwt::Sessions::<()>::builder(keys, tower_cookie_jwt::MemoryStore::new()).with_audience("shop").build().unwrap();
    let app = app.layer(sessions.layer());'
for one in "${applications[@]}"; do (cd "$work/$one" && cargo fetch --quiet); done

tree() { # application
  (cd "$work/$1" && cargo tree --quiet --offline -e normal,build --prefix none -f '{p}') |
    sed 's/ (.*//' | grep -v "^$1 " | sort -u
}

declare -A reason=(
  [cfg-if]="dependency of getrandom"
  [cookie]="reads and writes cookies according to RFC 6265; also used by axum-extra and tower-cookies"
  [getrandom]="session ids, secrets and XSRF tokens from the operating system's random source"
  [subtle]="compares XSRF tokens and secrets in constant time"
  [version_check]="dependency of cookie, at build time only"
)
crates() {
  for one in "${applications[@]}"; do tree "$one" >"$work/$one.tree"; done
  sort -u "$work/bare.tree" "$work/jwt.tree" >"$work/before"
  comm -13 "$work/before" "$work/with.tree" | sed '/^tower-cookie-jwt /d' >"$work/added"
  echo
  echo "### Crates that the library adds"
  echo
  echo "With default features, including build dependencies. Bare axum needs $(wc -l <"$work/bare.tree") crates, and" \
    "$(wc -l <"$work/jwt.tree") with jsonwebtoken and aws-lc-rs. The library adds itself and" \
    "$(wc -l <"$work/added") others:"
  echo
  echo "| crate | why |"
  echo "|---|---|"
  while read -r name version; do
    echo "| $name ${version#v} | ${reason[$name]:-**no reason given**} |"
  done <"$work/added"
}

# Prints the wall-clock seconds and the CPU seconds of a build. The latter depend less on other work on the machine.
cold_build() { # application
  TIMEFORMAT='%R %U %S'
  # A simple command rather than a subshell, whose redirection would also capture the output of `time`.
  { time env CARGO_TARGET_DIR="$work/target" cargo build --release --offline --quiet \
      --manifest-path "$work/$1/Cargo.toml" 2>"$work/errors"; } \
    2>"$work/time" || { cat "$work/errors" >&2; exit 1; }
  rm -r "$work/target"
  awk '{ print $1, $2 + $3 }' "$work/time"
}
mean() { awk -v column="$1" '{ sum += $column } END { printf "%.1f", sum / NR }'; }

times() {
  for ((round = 0; round < rounds; round++)); do
    for one in "${applications[@]}"; do cold_build "$one" >>"$work/$one.times"; done
  done
  echo
  echo "### Time of a cold release build"
  echo
  echo "The mean of $rounds interleaved builds each, on $(nproc) cores."
  echo
  echo "| | wall-clock time | CPU time |"
  echo "|---|---:|---:|"
  declare -A name=([bare]="bare axum" [jwt]="axum and jsonwebtoken with aws-lc-rs" [with]="**axum and the library**")
  for one in "${applications[@]}"; do
    echo "| ${name[$one]} | $(mean 1 <"$work/$one.times") s | $(mean 2 <"$work/$one.times") s |"
  done
}

case $what in
  crates) crates ;;
  time) times ;;
  all) crates; times ;;
  *) echo "usage: $0 [crates|time] [ROUNDS]" >&2; exit 2 ;;
esac
