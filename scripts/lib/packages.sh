# shellcheck shell=bash
# The programs that the machine must have: the .NET 10 SDK (never installed by these scripts), and Debian packages
# (installed when missing).

RABBITMQ_BIN='' POSTGRES_BIN='' DOTNET=''

# Debian keeps the programs of the servers out of PATH: RabbitMQ's own scripts (the wrapper in /usr/sbin ignores the
# settings of a private instance), and PostgreSQL's by version. Only the version that made a data folder can open it.
find_programs() {
  local dir version='*'
  RABBITMQ_BIN='' POSTGRES_BIN=''
  [[ ! -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || RABBITMQ_BIN=/usr/lib/rabbitmq/bin
  [[ ! -f $DATA/postgres.version ]] || version=$(<"$DATA/postgres.version")
  for dir in /usr/lib/postgresql/$version/bin; do
    [[ ! -x $dir/postgres || ! -x $dir/initdb ]] || POSTGRES_BIN=$dir
  done
}

missing_packages() {
  find_programs
  have curl || echo curl
  have openssl || echo openssl
  [[ $1 == native ]] || return 0
  have redis-server || echo redis-server
  [[ -n $RABBITMQ_BIN ]] || echo rabbitmq-server
  [[ -n $POSTGRES_BIN ]] || echo postgresql
}

# ensure_packages native|other: installs missing packages as root or through sudo. Where neither is possible, it tells
# the user the one command to run.
ensure_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages "$1")
  STEP_NOTE='all there'
  ((${#missing[@]})) || return 0
  have apt-get || fail "missing programs: ${missing[*]}; they are installed on Debian and Ubuntu only, so install them yourself" /dev/null
  install_packages "${missing[@]}"
  STEP_NOTE="installed ${missing[*]}"
  mapfile -t missing < <(missing_packages "$1")
  ((!${#missing[@]})) || fail "apt-get succeeded, and yet these are missing: ${missing[*]}"
}

install_packages() {
  local -a as_root=()
  printf 'installing %s ... ' "$*" >&3
  if [[ $EUID != 0 ]]; then
    if have sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
      as_root=(sudo)
    else
      fail "packages are missing and only root may install them. Run this once as root, then this script again:  $(install_command "$@")" /dev/null
    fi
  fi
  "${as_root[@]}" bash "$LIB/install-packages.sh" "$@" 9>&- || fail "apt-get could not install $*"
}

# The command names the same script, so that no service is started by hand either.
install_command() { printf '%sbash %q %s' "$(have sudo && echo 'sudo ')" "$LIB/install-packages.sh" "$*"; }

ensure_dotnet() {
  local found
  for found in "$(command -v dotnet || true)" "${DOTNET_ROOT:-/nowhere}/dotnet" "${HOME:-/nowhere}/.dotnet/dotnet" /usr/share/dotnet/dotnet /usr/lib/dotnet/dotnet; do
    [[ -x $found ]] || continue
    DOTNET=$(readlink -f "$found")
    "$DOTNET" --list-sdks 2>/dev/null | grep -q '^10\.' && return 0
  done
  fail "the .NET 10 SDK is missing (looked for dotnet in PATH, DOTNET_ROOT, ~/.dotnet and /usr/share/dotnet)" /dev/null
}
