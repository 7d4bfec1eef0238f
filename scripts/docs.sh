#!/usr/bin/env bash
# Runs the commands of the README and of docs/ on a stack of its own. See --help.
. "$(dirname "${BASH_SOURCE[0]}")/lib/all.sh"
# shellcheck source=lib/runs.sh
. "$LIB/runs.sh"

usage() {
  cat <<'HELP'
usage: scripts/docs.sh [--port-base N]

Runs the blocks marked "sh" of README.md and of the pages in docs/, each page from top to bottom in one shell, which ends at the first command
that fails and at the first answer that is an error. JSON that a comment shows, if it is whole, must be in the output. Each page runs twice, as
printed and as the README says for --port-base, on one stack (--port-base, default 26080), which is gone afterwards. Prints PASS or FAIL for each
run. Exits with 1 when one failed.
HELP
}

parse() {
  BASE_ASKED=26080
  while (($#)); do
    case $1 in
      --port-base) BASE_ASKED=${2:-none}; shift $(($# > 1 ? 2 : 1)) ;;
      -h | --help) usage; exit 0 ;;
      *) misused "unknown argument: $1" ;;
    esac
  done
}

commands() { awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$ROOT/$1"; }

# shown PAGE: prints the JSON in the comments of a page: objects, arrays, and a text that begins a comment.
shown() { commands "$1" | grep -oP '# .*' | grep -oP '\{[^…{}]*\}|\["[^…]*?\]|^# \K"[^"]+"'; }

# make_folders: makes two checkouts as readers see them. In the first one the stack is the default one.
make_folders() {
  install -d "$WORK/printed/scripts" "$WORK/based"
  ln -s "$STACK" "$WORK/printed/.local"
  printf '#!/bin/sh\nexec "%s/scripts/token.sh" --port-base %s "$@"\n' "$ROOT" "$BASE" >"$WORK/printed/scripts/token.sh"
  chmod +x "$WORK/printed/scripts/token.sh"
  ln -s "$ROOT/.local" "$ROOT/scripts" "$WORK/based/"
}

# The second run buys as bob, since alice has already bought in the first one.
as_printed() { commands "$1"; }
with_port_base() { commands "$1" | sed -e "s#\.local/env#.local/$BASE/env#g" -e "s#token\.sh alice#token.sh --port-base $BASE bob#"; }

# run_page PAGE FORM FOLDER: runs the commands of a page in FOLDER. FORM is as_printed or with_port_base.
run_page() {
  local name json missing=''
  name=$WORK/$(basename "$1" .md)-$2
  {
    echo 'curl() { command curl -sS --fail-with-body "$@"; }'
    "$2" "$1"
  } >"$name.sh"
  if bounded 120 env -C "$3" bash -euvo pipefail "$name.sh" >"$name.out" 2>"$name.log"; then
    while read -r json; do grep -qF -- "$json" "$name.out" || missing+=" $json"; done < <(shown "$1")
    if [[ -z $missing ]]; then
      say "PASS $1 ${2//_/ }"
      return
    fi
    say "FAIL $1 ${2//_/ }: its output lacks$missing"
  else
    say "FAIL $1 ${2//_/ }: $(tail -n 3 "$name.log" | cut -c1-300)"
  fi
  say "$(tail -n 25 "$name.out" | cut -c1-300 | sed 's/^/    /')"
  FAILED=1
}

take_down() {
  take_down_own_stack "$WORK/docs.log"
  [[ $CODE != 0 ]] || rm -rf "$WORK"
}

main() {
  local page
  parse "$@"
  own_stack "$BASE_ASKED"
  WORK=$ROOT/.local/docs.$$ FAILED=0
  guard
  trap 'CODE=$?; take_down; on_exit "$CODE"' EXIT
  install -d "$WORK"
  have jq || install_packages jq
  "$ROOT/scripts/up.sh" --port-base "$BASE" >"$WORK/docs.log" 2>&1 || fail 'the stack did not come up' "$WORK/docs.log"
  make_folders
  for page in $(doc_pages); do
    run_page "$page" as_printed "$WORK/printed"
    run_page "$page" with_port_base "$WORK/based"
  done
  REPORTED=yes
  exit "$FAILED"
}

main "$@"
