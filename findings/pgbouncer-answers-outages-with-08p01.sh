#!/usr/bin/env bash
# PgBouncer 1.18 answers a setting that will never work and an outage of the server behind it with the same SQLSTATE.
#
# Expected: 08P01 (protocol_violation) means that client and pooler do not fit together, which waiting cannot mend, so that a client may
#   end for good on it; a server that is away is told by a code of class 08 that means "away", such as 08006, or of class 57.
# Seen: both are FATAL 08P01. Only their texts tell them apart: "unsupported startup parameter: options", and while the server is
#   stopped "server login has been failing, try again later (server_login_retry)". A client that ends on the code ends in each outage;
#   one that waits on the code waits for ever for a startup parameter that is never taken.
#
# Needs root (installs Debian's pgbouncer 1.18 and postgresql 15 where they are missing). Fails when PgBouncer answers otherwise.
set -euo pipefail
dir=$(mktemp -d) port=$((20000 + RANDOM % 5000)) pooler=$((26000 + RANDOM % 5000)) pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
if ! command -v pgbouncer >/dev/null || [[ ! -x /usr/lib/postgresql/15/bin/postgres ]]; then
  apt-get install -y -q --no-install-recommends pgbouncer postgresql-15 >/dev/null
fi
bin=/usr/lib/postgresql/15/bin
chown postgres: "$dir"
as=(setpriv --reuid postgres --regid postgres --init-groups)

cd "$dir"
"${as[@]}" "$bin/initdb" -D "$dir/data" -A trust -U postgres >/dev/null
"${as[@]}" "$bin/postgres" -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= >"$dir/postgres.log" 2>&1 &
server=$!
pids+=("$server")
cat >"$dir/pgbouncer.ini" <<INI
[databases]
db = host=127.0.0.1 port=$port dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooler
unix_socket_dir =
auth_type = any
pool_mode = session
server_login_retry = 1
server_connect_timeout = 1
INI
"${as[@]}" pgbouncer -q "$dir/pgbouncer.ini" >"$dir/pgbouncer.log" 2>&1 &
pids+=($!)
for _ in {1..100}; do "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break; sleep 0.1; done

# ask [OPTIONS]: what the pooler answers, with its SQLSTATE.
ask() { PGOPTIONS=${1:-} PGCONNECT_TIMEOUT=20 psql -X -v VERBOSITY=verbose -h 127.0.0.1 -p "$pooler" -U postgres db -Atc 'select 1' 2>&1 || true; }
# The pooler's own log has the code of what it told clients at their login, where libpq keeps it to itself.
for _ in {1..100}; do [[ $(ask) == 1 ]] && break; sleep 0.1; done
[[ $(ask) == 1 ]] || { echo "the pooler does not work at all: $(ask)"; exit 1; }

# answer [PARAMETER VALUE]: the pooler's error to a startup packet, as CODE text, read from the wire.
answer() {
  python3 - "$pooler" "$@" <<'PY'
import socket, struct, sys
parameters = ["user", "postgres", "database", "db"] + sys.argv[2:]
body = struct.pack("!i", 196608) + b"".join(p.encode() + b"\0" for p in parameters) + b"\0"
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=6) as s:
    s.sendall(struct.pack("!i", len(body) + 4) + body)
    data, asked = b"", False
    while True:
        while len(data) >= 5 and len(data) >= 1 + struct.unpack("!i", data[1:5])[0]:
            size = 1 + struct.unpack("!i", data[1:5])[0]
            kind, message, data = data[:1], data[5:size], data[size:]
            if kind == b"E":
                fields = {f[:1]: f[1:].decode() for f in message.split(b"\0") if f}
                print(fields[b"C"], fields[b"M"])
                sys.exit()
            if kind == b"Z" and not asked:
                asked = True
                query = b"select 1\0"
                s.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
            elif kind == b"Z":
                print("answered")
                sys.exit()
        try:
            more = s.recv(4096)
        except TimeoutError:
            print("no answer yet")
            sys.exit()
        if not more:
            print("closed")
            sys.exit()
        data += more
PY
}

parameter=$(answer options '-c geqo=off')
kill -INT "$(head -n1 "$dir/data/postmaster.pid")"
wait "$server" 2>/dev/null || true
outage=''
for _ in {1..8}; do
  outage=$(answer)
  [[ $outage != *'login has been failing'* ]] || break
  sleep 0.5
done
pgbouncer --version | head -n1
echo "startup parameter: $parameter"
echo "server stopped:    $outage"
[[ $parameter == '08P01 unsupported startup parameter: options' && $outage == 08P01*'login has been failing'* ]] || { echo 'PgBouncer answers otherwise now.'; exit 1; }
