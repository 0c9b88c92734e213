#!/usr/bin/env bash
# Requests a second over loopback: the server on the first core, wrk on the second, by turns.
# usage: loopback.sh PATH-OF-THE-BINARY [ROUNDS] [SECONDS]
set -euo pipefail
server=$1 rounds=${2:-21} seconds=${3:-1}
contenders=(bare hand ours)
command -v wrk >/dev/null || { echo "needs wrk (Debian package wrk)" >&2; exit 1; }

work=$(mktemp -d)
declare -A port pid
finish() {
  # One that could not start has ended by itself.
  for process in "${pid[@]}"; do if kill -0 "$process" 2>/dev/null; then kill "$process"; fi; done
  rm -r "$work"
}
trap finish EXIT

for contender in "${contenders[@]}"; do
  taskset -c 0 "$server" serve "$contender" >"$work/$contender" &
  pid[$contender]=$!
done
for contender in "${contenders[@]}"; do
  until [[ -s $work/$contender ]]; do sleep 0.1; done
  port[$contender]=$(<"$work/$contender")
done

echo 'wrk.method = "POST"' >"$work/post.lua"
echo 'wrk.method = "GET"' >"$work/get.lua"
headers=(-H "Cookie: $("$server" header cookie)" -H "X-XSRF-TOKEN: $("$server" header xsrf)" -H "Sec-Fetch-Site: same-origin")

# Hundredths of a second that the server has had its core.
ticks() { awk '{ print $14 + $15 }' "/proc/${pid[$1]}/stat"; }

# Prints requests a second and microseconds of the server's core a request; anything but 2xx is an error of the
# set-up.
load() { # contender method seconds
  local before after
  before=$(ticks "$1")
  taskset -c 1 wrk -t1 -c32 -d"$3s" -s "$work/$2.lua" "${headers[@]}" "http://127.0.0.1:${port[$1]}/" >"$work/out"
  after=$(ticks "$1")
  if grep -q Non-2xx "$work/out"; then echo "$1 refuses $2" >&2; exit 1; fi
  awk -v ticks=$((after - before)) -v second="$(getconf CLK_TCK)" '
    / requests in / { requests = $1 }
    /^Requests\/sec/ { print $2, 1e6 * ticks / second / requests }' "$work/out"
}
median() { sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

for contender in "${contenders[@]}"; do load "$contender" get 1 >/dev/null; done
for ((round = 0; round < rounds; round++)); do
  for method in get post; do
    # Another one begins each round, so that none always follows the same neighbour.
    for ((turn = round; turn < round + ${#contenders[@]}; turn++)); do
      contender=${contenders[turn % ${#contenders[@]}]}
      load "$contender" "$method" "$seconds" >>"$work/$contender.$method"
    done
  done
done

echo
echo "### Over loopback"
echo
echo "axum on one core, wrk with 32 connections on the other; the median of $rounds rounds of $seconds s each, by turns."
echo "The core's time a request is what holds on a machine that is not quiet."
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
    row+=$(printf ' %.0f | %.2f | %.1f µs |' "$rate" "$ratio" "$core")
  done
  echo "$row"
done
