# shellcheck shell=bash disable=SC2034
# Shared by measuring, load and fault runs: a stack of their own, the runner, the controls.

# misused REASON: ends the script with 64, since the command line was not understood.
misused() {
  REPORTED=yes
  usage >&4
  printf '\n%s\n' "$1" >&4
  exit 64
}

# own_stack BASE: makes everything after it concern a stack that is not there yet.
own_stack() {
  use_stack_of_base "$1"
  [[ ! -f $STACK/env ]] || fail "the stack in $(relative "$STACK") is in use: choose another --port-base"
}

# bring_up_own_stack: brings up the stack without its demo sale, and reads its settings and addresses into this shell.
bring_up_own_stack() {
  "$ROOT/scripts/up.sh" --port-base "$BASE" --no-demo || return
  load_settings
  load_infra
  "${INFRA}_addresses"
}

# take_down_own_stack LOG: takes down the stack and its data. The output goes to LOG.
take_down_own_stack() { [[ ! -d $STACK ]] || "$ROOT/scripts/down.sh" --port-base "$BASE" --wipe >>"$1" 2>&1 || true; }

# build_project PROJECT FOLDER: publishes a program of loadtests/ into FOLDER.
build_project() {
  build_lock
  bounded 600 "$DOTNET" publish "$ROOT/loadtests/$1" "${BUILD_ARGS[@]}" --output "$2" 7>&- || fail 'the build failed'
  build_unlock
}

# build_runner FOLDER: builds the load runner, and raises the limit of open files, since the runner opens a connection
# per shopper.
build_runner() {
  ulimit -n "$(ulimit -H -n)"
  build_project FlashSale.LoadTests "$1"
}

# ---- the machine and the commit, for the heads of reports ------------------------------------------------------------

hardware() {
  printf '%s x %s, %d GB, %s\n' "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" "$((($(memory_kib) + 524288) / 1048576))" "$(uname -sr)"
}

# commit: prints the commit, with a note when the measured sources have changed since. Earlier results do not count as
# changes.
commit() {
  printf '%s%s\n' "$(git -C "$ROOT" log -1 --format='%h %s' 2>/dev/null || echo 'no commit')" \
    "$([[ -z $(git -C "$ROOT" status --porcelain -- src loadtests ':!loadtests/results' ':!loadtests/charts' 2>/dev/null) ]] || echo ', with changes')"
}

# ---- controls: an Api that is known to be broken ---------------------------------------------------------------------

CONTROL=$ROOT/.local/control

controls() { local file; for file in "$ROOT"/loadtests/controls/*.patch; do basename "$file" .patch; done; }

# doc_pages: prints the pages that hold commands for docs.sh, from the top of the checkout.
doc_pages() { (cd "$ROOT" && grep -lx '```sh' README.md docs/*.md); }

# promise_of CONTROL: prints the promise that the control breaks.
promise_of() {
  case $1 in
    oversell) echo I1 ;;
    lost-outbox) echo I3 ;;
    no-limit) echo I4 ;;
    *) fail "no such control: $1" ;;
  esac
}

# break_api CONTROL: gives the stack's Api a Core that is built from a copy of the sources, with a patch applied to
# reserve.lua. The product has no switch for it.
break_api() {
  local broken=$CONTROL/build/bin/FlashSale.Core/release/FlashSale.Core.dll
  copy_sources
  have patch || install_packages patch
  # The patch must fit exactly. Where the script has changed, a person must look how to break it now.
  patch --strip=1 --fuzz=0 --directory="$CONTROL" <"$ROOT/loadtests/controls/$1.patch" || fail "loadtests/controls/$1.patch does not fit src/FlashSale.Core/Stock/reserve.lua any more"
  build_lock
  # The script is a resource of Core, so the rest of the Api stays the stack's own.
  bounded 600 "$DOTNET" build "$CONTROL/src/FlashSale.Core/FlashSale.Core.csproj" "${BUILD_ARGS[@]/#"$BUILD"/"$CONTROL/build"}" -p:RunAnalyzers=false 7>&- || fail "Core with control $1 cannot be built"
  build_unlock
  [[ -f $STACK/app/whole.dll ]] || cp "$STACK/app/api/FlashSale.Core.dll" "$STACK/app/whole.dll"
  ! cmp -s "$broken" "$STACK/app/whole.dll" || fail "Core with control $1 is the Core without"
  run_api_with "$broken"
}

# mend_api: gives the Api back its own Core.
mend_api() { run_api_with "$STACK/app/whole.dll"; }

run_api_with() {
  stop_host api
  cp "$1" "$STACK/app/api/FlashSale.Core.dll"
  start_host api
  await_host api
}

copy_sources() {
  install -d "$CONTROL"
  rm -rf "$CONTROL/src"
  (cd "$ROOT" && tar -c --exclude=bin --exclude=obj src Directory.*.props BannedSymbols.txt .editorconfig) | tar -x -C "$CONTROL"
}
