# shellcheck shell=bash
# Counts test results from the trx files (XML) that dotnet test writes, not from its console text.

# counter NAME FILE: prints an attribute of the <Counters> element.
counter() { grep -o '<Counters [^>]*>' "$2" | head -n1 | sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p"; }

# count_results TRX CODE: adds a project to PASSED, FAILED and SKIPPED. A skipped test is one that was found and not
# executed (the notExecuted counter stays 0 with this adapter). A run that broke off has no file or a bad exit status.
# It counts as one failure if no test failed.
count_results() {
  local total=0 executed=0
  PROJECT_PASSED=0 PROJECT_FAILED=0 PROJECT_SKIPPED=0
  if [[ -s $1 ]]; then
    total=$(counter total "$1") executed=$(counter executed "$1") PROJECT_PASSED=$(counter passed "$1")
    PROJECT_FAILED=$((executed - PROJECT_PASSED)) PROJECT_SKIPPED=$((total - executed))
  fi
  if ((PROJECT_FAILED == 0)) && [[ $2 != 0 || ! -s $1 ]]; then PROJECT_FAILED=1; fi
  PASSED=$((PASSED + PROJECT_PASSED)) FAILED=$((FAILED + PROJECT_FAILED)) SKIPPED=$((SKIPPED + PROJECT_SKIPPED))
}

# show_failures LOG: prints names and messages of failed and skipped tests, or the end of the log when the run broke
# off.
show_failures() {
  ((PROJECT_FAILED + PROJECT_SKIPPED)) || return 0
  if grep -qE '^ +(Failed|Skipped) ' "$1"; then
    say "$(grep -A 15 -E '^ +(Failed|Skipped) |run was aborted' "$1" | head -n 200)"
  else
    say "$(tail -n 40 "$1")"
  fi
}
