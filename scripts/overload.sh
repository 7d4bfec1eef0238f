#!/usr/bin/env bash
# Measures how many purchases the Api still accepts when shoppers ask for ten times more than it can do. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"
# shellcheck source=lib/bench.sh
. "$LIB/bench.sh"

usage() {
  cat <<'HELP'
usage: scripts/overload.sh [--port-base N] [--seconds N] [--connections N]

Brings up a stack of its own (--port-base, default 18080), finds by wrk how many purchases a second it takes, and lets shoppers on that many
connections (default 4,000) ask for 0.1, 0.5, 1, 2, 5 and 10 times as much, each by a Poisson clock of their own. Prints accepted purchases a second
and how long they took, and writes them to loadtests/results/<date>-overload.md. Then it counts how long a node takes to be itself again.
Exits with 1 when the books do not balance; a figure below its floor is told, and is no failure. Keep the machine quiet.
HELP
}

parse() {
  BASE_ASKED=18080 SECONDS_EACH=8 SHOPPERS=4000
  while (($#)); do
    case $1 in
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      --seconds) SECONDS_EACH=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      --connections) SHOPPERS=${2:-}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "unknown argument: $1" ;;
    esac
  done
  [[ $SECONDS_EACH =~ ^[1-9][0-9]?$ ]] || fail "--seconds $SECONDS_EACH: must be a number from 1 to 99"
  [[ $SHOPPERS =~ ^[1-9][0-9]{1,4}$ ]] || fail "--connections $SHOPPERS: must be a number from 10 to 99999"
}

# Finds the rate that counts as 1 times: the purchases that the stack accepts from shoppers that never pause, with the
# load generator on the same machine.
find_capacity() {
  new_sale overload 8000000
  ACCEPT=$SALE BACKLOG=$SALE
  load "$(purchase_path "$SALE")" 5
  await_drained "$SALE"
  load "$(purchase_path "$SALE")" "$SECONDS_EACH"
  expect_only ok
  [[ -z $INCONCLUSIVE ]] || fail "inconclusive: $INCONCLUSIVE"
  CAPACITY=${R[ok_rate]}
  await_drained "$SALE"
  STEP_NOTE="$CAPACITY purchases/s"
}

# stage TIMES: sets R to the figures of the crowd, and MEMORY to the megabytes that the Api holds afterwards.
stage() {
  local line pair
  settle
  line=$("$DOTNET" "$BENCH/crowd/FlashSale.LoadTests.dll" overload "$FLASHSALE_API_URL" "$(purchase_path "$SALE")" "$SKU" "$BENCH/tokens" "$SECONDS_EACH" "$SHOPPERS" \
    "$(awk -v c="$CAPACITY" -v t="$1" 'BEGIN { printf "%d", c * t }')")
  echo "$1 times: $line"
  R=()
  for pair in $line; do R[${pair%%=*}]=${pair#*=}; done
  MEMORY=$(($(resident_bytes) >> 20))
  ROWS+=$(printf '\n| %s | %s | %s | %s | %s | %s | %s |' "$1" "${R[accepted_rate]}" "${R[answered_rate]}" "${R[accepted_p50_ms]}" "${R[accepted_p99_ms]}" "${R[refused_p50_ms]}" "$MEMORY")
  record "goodput_$1" "${R[accepted_rate]}"
  record "p99_$1" "${R[accepted_p99_ms]}"
  STEP_NOTE="${R[accepted_rate]} accepted/s, p99 ${R[accepted_p99_ms]} ms; ${R[others]:-no} others; ${R[failed]} failed; $MEMORY MB"
}

# Measures the seconds after the last stage until a shopper and a page are answered as without load.
recover() {
  set_now
  local began=$NOW
  wait_until 30 is_itself "$SALE" || fail 'the Api is not itself again after 30 s'
  set_now
  RECOVERY=$(awk -v ms=$((NOW - began)) 'BEGIN { printf "%.1f", ms / 1000 }')
  await_drained "$SALE"
  STEP_NOTE="after $RECOVERY s"
}

is_itself() {
  local took
  took=$(curl -s -o /dev/null -m 3 -w '%{http_code} %{time_total}' "$FLASHSALE_API_URL/api/v1/sales/$1")
  awk -v a="$took" 'BEGIN { split(a, x, " "); exit !(x[1] == 200 && x[2] < 0.05) }'
}

overload_report() {
  local peak p99 share
  peak=$(for times in 0.1 0.5 1 2 5 10; do last "goodput_$times"; echo; done | sort -g | tail -n 1)
  share=$(ratio "$(last goodput_10)" "$peak")
  p99=$(ratio "$(last p99_10)" "$(last p99_0.1)")
  cat <<REPORT
# Overload, $(utc now)

$(machine)
Commit: $(commit). $SHOPPERS connections, $SECONDS_EACH s each; 1 times is $CAPACITY purchases/s.

| times | accepted/s | answered/s | accepted p50, ms | accepted p99, ms | refused p50, ms | Api, MB |
|---|---|---|---|---|---|---|$ROWS

Goodput at 10 times beside its peak: **$share** (floor 0.9). p99 of accepted purchases at 10 times beside 0.1 times: **$p99** (at most 4). Itself again after $RECOVERY s (at most 30).
REPORT
}

main() {
  local times
  parse "$@"
  own_stack "$BASE_ASKED"
  guard
  trap 'CODE=$?; take_down; on_exit "$CODE"' EXIT
  bring_up
  RESULT=${RESULT%-bench.md}-overload.md
  step crowd 'the shoppers' build_runner "$BENCH/crowd"
  step capacity 'what the stack can do' find_capacity
  ROWS=''
  for times in 0.1 0.5 1 2 5 10; do step "$times times" "$SECONDS_EACH s" stage "$times"; done
  step recovery 'the load has gone' recover
  step books 'comparing Redis and Postgres' check_books
  overload_report | tee "$RESULT" >&3
  say "written to $(relative "$RESULT")"
}

main "$@"
