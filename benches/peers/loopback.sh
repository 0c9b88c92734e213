#!/usr/bin/env bash
# Measures requests per second over loopback, with the server on the first core and wrk on the second. The candidates
# are interleaved.
# usage: loopback.sh PATH-OF-THE-BINARY [ROUNDS] [SECONDS]
set -euo pipefail
server=$1 rounds=${2:-21} seconds=${3:-1}
candidates=(bare hand ours followed)
command -v wrk >/dev/null || { echo "wrk is missing: install the Debian package wrk" >&2; exit 1; }

work=$(mktemp -d)
pid=
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
  rm -r "$work"
}
trap finish EXIT

echo 'wrk.method = "POST"' >"$work/post.lua"
echo 'wrk.method = "GET"' >"$work/get.lua"
usual=(-H "Cookie: $("$server" header cookie)" -H "X-XSRF-TOKEN: $("$server" header xsrf)")

# Starts a new process for each round, because the placement of its memory changes the result by several percent.
start() { # candidate
  : >"$work/said"
  taskset -c 0 "$server" serve "$1" >"$work/said" &
  pid=$!
  until grep -q '^[0-9]\+$' "$work/said"; do
    kill -0 "$pid" 2>/dev/null || { echo "$1 failed to start" >&2; exit 1; }
    sleep 0.02
  done
  tail -n 1 "$work/said" >"$work/port"
  headers=("${usual[@]}")
  if [[ $(wc -l <"$work/said") -gt 1 ]]; then
    headers=()
    while IFS= read -r line; do headers+=(-H "$line"); done < <(head -n -1 "$work/said")
  fi
  headers+=(-H "Sec-Fetch-Site: same-origin")
  # A warm-up, cut short by the timeout. Its errors are ignored: they recur in the measured rounds.
  timeout 0.3 taskset -c 1 wrk -t1 -c32 -d1s "${headers[@]}" "http://127.0.0.1:$(<"$work/port")/" >"$work/warm" || true
}

# Prints the CPU time of the server in nanoseconds.
core() { cut -d ' ' -f 1 "/proc/$pid/schedstat"; }

# Prints the requests per second and the server's CPU microseconds per request. A response other than 2xx means that
# the setup is wrong.
load() { # candidate method
  local before after
  before=$(core)
  taskset -c 1 wrk -t1 -c32 -d"${seconds}s" -s "$work/$2.lua" "${headers[@]}" "http://127.0.0.1:$(<"$work/port")/" >"$work/out"
  after=$(core)
  if grep -q Non-2xx "$work/out"; then echo "$1 refused $2 requests" >&2; exit 1; fi
  awk -v core=$((after - before)) '
    / requests in / { requests = $1 }
    /^Requests\/sec/ { print $2, core / 1000 / requests }' "$work/out"
}
median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

for ((round = 0; round < rounds; round++)); do
  # Each round begins with a different candidate, which varies what runs before each of them.
  for ((turn = round; turn < round + ${#candidates[@]}; turn++)); do
    candidate=${candidates[turn % ${#candidates[@]}]}
    start "$candidate"
    for method in get post; do load "$candidate" "$method" >>"$work/$candidate.$method"; done
    stop
  done
done

echo
echo "### Over loopback"
echo
echo "axum on one core, wrk with 32 connections on the other; the median of $rounds interleaved rounds of $seconds s"
echo "each, with a new process per round. On a machine that is not idle, rely on the CPU time per request."
echo
echo "| | GET/s | relative to bare | CPU per GET | POST/s | relative to bare | CPU per POST |"
echo "|---|---:|---:|---:|---:|---:|---:|"
declare -A name=([bare]="bare axum" [hand]="hand-written \`from_fn\`" [ours]="**all three layers**"
  [followed]="**the same, sign-out within a second, followed**")
for candidate in "${candidates[@]}"; do
  row="| ${name[$candidate]} |"
  for method in get post; do
    rate=$(median <"$work/$candidate.$method")
    # The median of the ratios within each round, because the machine's speed may vary between rounds.
    ratio=$(paste "$work/$candidate.$method" "$work/bare.$method" | awk '{ print $1 / $3 }' | median)
    core=$(awk '{ print $2 }' "$work/$candidate.$method" | median)
    row+=$(printf ' %.0f | %.2f | %.2f µs |' "$rate" "$ratio" "$core")
  done
  echo "$row"
done
