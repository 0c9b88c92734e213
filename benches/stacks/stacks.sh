#!/usr/bin/env bash
# Measures requests per second over loopback, with this library and with a session stack, each on several stores. The
# server is on the first core; wrk, Redis and PostgreSQL are on the second. The candidates are interleaved.
# usage: stacks.sh PATH-OF-THE-BINARY [ROUNDS] [SECONDS]
set -euo pipefail
server=$1 rounds=${2:-9} seconds=${3:-1}
lock=$(cd "$(dirname "$0")" && pwd)/Cargo.lock
for program in wrk curl; do
  command -v "$program" >/dev/null || { echo "$program is missing: install the Debian package $program" >&2; exit 1; }
done

work=$(mktemp -d)
pid= servers_pid= servers_input=
stop() {
  if [[ -n $pid ]]; then
    # The server may already have exited, and its exit status reports that it was killed; both are expected.
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  pid=
}
finish() {
  stop
  if [[ -n $servers_pid ]]; then
    # The end of their input stops Redis and PostgreSQL, and removes their folders.
    exec {servers_input}>&-
    wait "$servers_pid" 2>/dev/null || true
  fi
  rm -r "$work"
}
trap finish EXIT

# In a session of their own, which an interrupt from the keyboard does not reach: `finish` stops them in order.
coproc servers { exec setsid taskset -c 1 "$server" servers; }
servers_pid=$! servers_input=${servers[1]}
declare -A store=([memory]=memory)
if ! read -r "store[redis]" "store[postgres]" <&"${servers[0]}"; then
  echo "Redis or PostgreSQL failed to start" >&2
  exit 1
fi

candidates=(bare:memory)
for kind in memory redis postgres; do candidates+=(ours:"$kind" ours-bound:"$kind" ours-check:"$kind" login:"$kind"); done

# Starts a new process for each round, because the placement of its memory changes the result by several percent. The
# user signs in through a request, whose cookies the measured requests send among others.
start() { # candidate kind
  local cookies="theme=dark; _ga=GA1.1.1234567890.1700000000"
  : >"$work/port"
  taskset -c 0 "$server" serve "$1" "${store[$2]}" >"$work/port" &
  pid=$!
  until [[ -s $work/port ]]; do
    kill -0 "$pid" 2>/dev/null || { echo "$1 on $2 failed to start" >&2; exit 1; }
    sleep 0.02
  done
  url="http://127.0.0.1:$(<"$work/port")"
  if [[ $1 != bare ]]; then
    curl --silent --show-error --fail --data '' --header "Sec-Fetch-Site: same-origin" \
      --dump-header "$work/head" --output "$work/body" "$url/login"
    cookies+=$(sed -n 's/^set-cookie: \([^;]*\);.*/; \1/Ip' "$work/head" | tr -d '\r\n')
  fi
  headers=(-H "Cookie: $cookies; lang=en-GB" -H "Sec-Fetch-Site: same-origin")
  # A warm-up, cut short by the timeout. Its errors are ignored: they recur in the measured rounds.
  timeout 0.3 taskset -c 1 wrk -t1 -c32 -d1s "${headers[@]}" "$url/" >"$work/warm" || true
  # The pools get back the connections of the requests that have been cut short.
  sleep 0.1
}

# Prints the CPU time of the server in nanoseconds.
core() { cut -d ' ' -f 1 "/proc/$pid/schedstat"; }

# Prints the requests per second and the server's CPU microseconds per request. A response other than 2xx means that
# the setup is wrong.
load() { # candidate kind
  local before after
  before=$(core)
  taskset -c 1 wrk -t1 -c32 -d"${seconds}s" "${headers[@]}" "$url/" >"$work/out"
  after=$(core)
  if grep -E 'Non-2xx|Socket errors' "$work/out" >&2; then echo "$1 on $2 failed to answer" >&2; exit 1; fi
  awk -v core=$((after - before)) '
    / requests in / { requests = $1 }
    /^Requests\/sec/ { print $2, core / 1000 / requests }' "$work/out"
}
median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
# Prints the version of a crate, and the version in what a program says.
crate() { grep -A 1 "^name = \"$1\"$" "$lock" | number; }
number() { grep -Eo '[0-9]+\.[0-9.]+' | head -n 1; }

for ((round = 0; round < rounds; round++)); do
  # Each round begins with a different candidate, which varies what runs before each of them.
  for ((turn = round; turn < round + ${#candidates[@]}; turn++)); do
    IFS=: read -r candidate kind <<<"${candidates[turn % ${#candidates[@]}]}"
    start "$candidate" "$kind"
    load "$candidate" "$kind" >>"$work/$candidate.$kind"
    stop
  done
done

postgres=$(ls /usr/lib/postgresql | sort -V | tail -n 1)
redis=$("${REDIS_SERVER:-redis-server}" --version | number)
echo
echo "### Against session stacks, over loopback"
echo
echo "GET by one signed-in user. axum $(crate axum) is on one core; wrk with 32 connections is on the other, with"
echo "Redis $redis or PostgreSQL $postgres. The median of $rounds interleaved rounds of $seconds s each, with a new"
echo "process per round. The CPU time is that of axum's process, without the server of the store."
echo "axum-login $(crate axum-login) and tower-sessions $(crate tower-sessions) write no session on these requests"
echo "(\`Expiry::OnSessionEnd\`), and \`get_user\` reads from memory. Their stores are tower-sessions-redis-store"
echo "$(crate tower-sessions-redis-store) and tower-sessions-sqlx-store $(crate tower-sessions-sqlx-store)."
echo
echo "| | store | GET/s | relative to bare | CPU per GET |"
echo "|---|---|---:|---:|---:|"
declare -A name=([bare]="bare axum" [ours]="**all three layers**"
  [ours-bound]="**the same, \`with_sign_out_within\` a second, feed followed**"
  [ours-check]="**the same, \`with_session_check\`**" [login]="tower-sessions with axum-login")
declare -A title=([memory]=memory [redis]=Redis [postgres]=PostgreSQL)
for entry in "${candidates[@]}"; do
  IFS=: read -r candidate kind <<<"$entry"
  results=$work/$candidate.$kind
  rate=$(median <"$results")
  # The median of the ratios within each round, because the machine's speed may vary between rounds.
  ratio=$(paste "$results" "$work/bare.memory" | awk '{ print $1 / $3 }' | median)
  core=$(awk '{ print $2 }' "$results" | median)
  [[ $candidate == bare ]] && where=none || where=${title[$kind]}
  printf '| %s | %s | %.0f | %.2f | %.2f µs |\n' "${name[$candidate]}" "$where" "$rate" "$ratio" "$core"
done
