# shellcheck shell=bash disable=SC2034
# What measuring, load and fault runs share: a stack of their own, the runner, the controls.

# misused WHY: the command line was not understood.
misused() {
  REPORTED=yes
  usage >&4
  printf '\n%s\n' "$1" >&4
  exit 64
}

# own_stack BASE: from here on everything concerns a stack that is not there yet.
own_stack() {
  use_stack_of_base "$1"
  [[ ! -f $STACK/env ]] || fail "the stack in $(relative "$STACK") is in use: choose another --port-base"
}

# bring_up_own_stack: the stack without its demo sale. What this shell needs to know of it is read in.
bring_up_own_stack() {
  "$ROOT/scripts/up.sh" --port-base "$BASE" --no-demo || return
  load_settings
  load_infra
  "${INFRA}_addresses"
}

# take_down_own_stack LOG
take_down_own_stack() { [[ ! -d $STACK ]] || "$ROOT/scripts/down.sh" --port-base "$BASE" --wipe >>"$1" 2>&1 || true; }

# build_project PROJECT FOLDER: a program of loadtests/, published.
build_project() {
  build_lock
  bounded 600 "$DOTNET" publish "$ROOT/loadtests/$1" "${BUILD_ARGS[@]}" --output "$2" 7>&- || fail 'the build failed'
  build_unlock
}

# build_runner FOLDER: the load runner. It opens a connection per shopper.
build_runner() {
  ulimit -n "$(ulimit -H -n)"
  build_project FlashSale.LoadTests "$1"
}

# ---- what ran, and where, for the heads of reports ----------------------------------------------------------------------------

hardware() {
  printf '%s x %s, %d GB, %s\n' "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" "$((($(memory_kib) + 524288) / 1048576))" "$(uname -sr)"
}

# commit: with a word where what it measures was changed since. Earlier results are not part of that.
commit() {
  printf '%s%s\n' "$(git -C "$ROOT" log -1 --format='%h %s' 2>/dev/null || echo 'no commit')" \
    "$([[ -z $(git -C "$ROOT" status --porcelain -- src loadtests ':!loadtests/results' ':!loadtests/charts' 2>/dev/null) ]] || echo ', with changes')"
}

# ---- controls: an Api that is known to be broken ----------------------------------------------------------------------------

CONTROL=$ROOT/.local/control

controls() { local file; for file in "$ROOT"/loadtests/controls/*.patch; do basename "$file" .patch; done; }

# promise_of CONTROL: what it breaks.
promise_of() {
  case $1 in
    oversell) echo I1 ;;
    lost-outbox) echo I3 ;;
    no-limit) echo I4 ;;
    *) fail "no such control: $1" ;;
  esac
}

# break_api CONTROL: the stack's Api with a Core built from a copy of the sources with a patch applied to reserve.lua. The product has no switch for it.
break_api() {
  local broken=$CONTROL/build/bin/FlashSale.Core/release/FlashSale.Core.dll
  copy_sources
  have patch || install_packages patch
  # Without fuzz: where the script has changed, somebody must look what breaks it now.
  patch --strip=1 --fuzz=0 --directory="$CONTROL" <"$ROOT/loadtests/controls/$1.patch" || fail "loadtests/controls/$1.patch does not fit src/FlashSale.Core/Stock/reserve.lua any more"
  build_lock
  # The script is a resource of Core: the rest of the Api is the stack's own.
  bounded 600 "$DOTNET" build "$CONTROL/src/FlashSale.Core/FlashSale.Core.csproj" "${BUILD_ARGS[@]/#"$BUILD"/"$CONTROL/build"}" -p:RunAnalyzers=false 7>&- || fail "Core with control $1 cannot be built"
  build_unlock
  [[ -f $STACK/app/whole.dll ]] || cp "$STACK/app/api/FlashSale.Core.dll" "$STACK/app/whole.dll"
  ! cmp -s "$broken" "$STACK/app/whole.dll" || fail "Core with control $1 is the Core without"
  run_api_with "$broken"
}

# mend_api: with the Core that it had.
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
