# shellcheck shell=bash
# Builds the solution and publishes the hosts. Output goes to .local/build, apart from the bin and obj folders of an
# editor. One build runs at a time in a checkout.

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
# These settings leave no compiler or MSBuild server behind.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0 UseSharedCompilation=false

BUILD=$ROOT/.local/build
BUILD_ARGS=(--configuration Release --artifacts-path "$BUILD" --disable-build-servers -nodeReuse:false -verbosity:quiet -p:RestoreLockedMode=true)

build_lock() {
  install -d "$BUILD"
  exec 7>>"$BUILD/lock"
  flock -n 7 || { printf '(another build of this checkout runs, waiting) ' >&3; flock -w 900 7 || fail "the other build still holds $(relative "$BUILD")/lock"; }
}

build_unlock() { exec 7>&-; }

# sources_hash: prints a hash of everything that goes into the hosts.
sources_hash() {
  (
    cd "$ROOT" || exit
    "$DOTNET" --version
    find src -type d \( -name bin -o -name obj \) -prune -o -type f -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
    sha256sum Directory.*.props Directory.*.targets BannedSymbols.txt .editorconfig global.json nuget.config NuGet.Config 2>/dev/null || true
  ) | sha256sum | cut -d' ' -f1
}

# host_project HOST: prints the name of the project of a host.
host_project() {
  case $1 in
    payments) echo FlashSale.PaymentSandbox ;;
    *) echo "FlashSale.${1^}" ;;
  esac
}

# publish FOLDER: publishes the hosts into FOLDER/{api,admin,worker,payments}. Returns 1 unless all of them succeed.
publish() {
  local host name folder=$1
  rm -rf "$folder"
  for host in "${HOSTS[@]}"; do
    name=$(host_project "$host")
    bounded 900 "$DOTNET" publish "$ROOT/src/$name/$name.csproj" "${BUILD_ARGS[@]}" --output "$folder/$host" 7>&- || return 1
  done
}
