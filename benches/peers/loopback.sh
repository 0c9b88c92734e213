#!/usr/bin/env bash
# Requests a second over loopback: the server on the first core, wrk on the second, by turns.
# usage: loopback.sh PATH-OF-THE-BINARY [ROUNDS] [SECONDS]
set -euo pipefail
server=$1 rounds=${2:-21} seconds=${3:-1}
contenders=(bare hand ours)
command -v wrk >/dev/null || { echo "needs wrk (Debian package wrk)" >&2; exit 1; }

work=$(mktemp -d)
pid=
stop() {
  if [[ -n $pid ]]; then
    # It may have ended by itself, and says by a status of its own that it was killed.
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
headers=(-H "Cookie: $("$server" header cookie)" -H "X-XSRF-TOKEN: $("$server" header xsrf)" -H "Sec-Fetch-Site: same-origin")

# A process of its own for each round: where its memory happens to lie is worth several percent.
start() { # contender
  : >"$work/port"
  taskset -c 0 "$server" serve "$1" >"$work/port" &
  pid=$!
  until [[ -s $work/port ]]; do
    kill -0 "$pid" 2>/dev/null || { echo "$1 does not start" >&2; exit 1; }
    sleep 0.02
  done
  # Warms up, until it is cut short; what does not work fails in the rounds that count.
  timeout 0.3 taskset -c 1 wrk -t1 -c32 -d1s "${headers[@]}" "http://127.0.0.1:$(<"$work/port")/" >"$work/warm" || true
}

# Nanoseconds that the server has had its core.
core() { cut -d ' ' -f 1 "/proc/$pid/schedstat"; }

# Prints requests a second and microseconds of the server's core a request; anything but 2xx is an error of the
# set-up.
load() { # contender method
  local before after
  before=$(core)
  taskset -c 1 wrk -t1 -c32 -d"${seconds}s" -s "$work/$2.lua" "${headers[@]}" "http://127.0.0.1:$(<"$work/port")/" >"$work/out"
  after=$(core)
  if grep -q Non-2xx "$work/out"; then echo "$1 refuses $2" >&2; exit 1; fi
  awk -v core=$((after - before)) '
    / requests in / { requests = $1 }
    /^Requests\/sec/ { print $2, core / 1000 / requests }' "$work/out"
}
median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

for ((round = 0; round < rounds; round++)); do
  # Another one begins each round, so that none always follows the same neighbour.
  for ((turn = round; turn < round + ${#contenders[@]}; turn++)); do
    contender=${contenders[turn % ${#contenders[@]}]}
    start "$contender"
    for method in get post; do load "$contender" "$method" >>"$work/$contender.$method"; done
    stop
  done
done

echo
echo "### Over loopback"
echo
echo "axum on one core, wrk with 32 connections on the other; the median of $rounds rounds of $seconds s each, by turns,"
echo "with a fresh process each. The core's time a request is what holds on a machine that is not quiet."
echo
echo "| | GET/s | against bare | core a GET | POST/s | against bare | core a POST |"
echo "|---|---:|---:|---:|---:|---:|---:|"
declare -A name=([bare]="bare axum" [hand]="hand-written \`from_fn\`" [ours]="**all three layers**")
for contender in "${contenders[@]}"; do
  row="| ${name[$contender]} |"
  for method in get post; do
    rate=$(median <"$work/$contender.$method")
    # Ratios within a round, then their median: the machine may change its pace between rounds.
    ratio=$(paste "$work/$contender.$method" "$work/bare.$method" | awk '{ print $1 / $3 }' | median)
    core=$(awk '{ print $2 }' "$work/$contender.$method" | median)
    row+=$(printf ' %.0f | %.2f | %.2f µs |' "$rate" "$ratio" "$core")
  done
  echo "$row"
done
