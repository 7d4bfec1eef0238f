#!/usr/bin/env bash
# Npgsql 10.0.3: a query that is cancelled by its token does not end while the server hangs.
#
# Expected: after the token is cancelled, ExecuteScalarAsync ends with an exception at the latest after "Cancellation Timeout" (2 s by
#   default), which is documented as the time to wait for the answer to a cancellation request before the attempt is given up.
# Seen: with all processes of PostgreSQL stopped (SIGSTOP), as on a machine that hangs or whose disk stalls, the call has not ended 30 s
#   after the cancellation, neither by default nor with "Cancellation Timeout=500". The kernel of such a server still accepts
#   connections. With a server that was killed the same call ends at once. So a deadline that is only a token, such as a timeout of
#   Polly, bounds nothing here: it needs Task.WaitAsync beside it.
#
# Needs root (installs Debian's postgresql 15 where it is missing) and a .NET 10 SDK. Fails when the call ends within 30 s.
set -euo pipefail
dir=$(mktemp -d) port=$((20000 + RANDOM % 5000)) server=''
stopped() { [[ -z $server ]] || for pid in "$server" $(ps -o pid= --ppid "$server"); do kill -"$1" "$pid" 2>/dev/null || true; done; }
trap 'stopped CONT; [[ -z $server ]] || kill -INT "$server" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
[[ -x /usr/lib/postgresql/15/bin/postgres ]] || apt-get install -y -q --no-install-recommends postgresql-15 >/dev/null
bin=/usr/lib/postgresql/15/bin
chown postgres: "$dir"
chmod 755 "$dir"
as=(setpriv --reuid postgres --regid postgres --init-groups)
cd "$dir"
"${as[@]}" "$bin/initdb" -D "$dir/data" -A trust -U postgres >/dev/null
"${as[@]}" "$bin/postgres" -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= >"$dir/postgres.log" 2>&1 &
server=$!
for _ in {1..100}; do "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break; sleep 0.1; done

mkdir client && cd client
cat >client.csproj <<'X'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net10.0</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Npgsql" Version="10.0.3" />
  </ItemGroup>
</Project>
X
cat >Program.cs <<'X'
using System.Diagnostics;
using Npgsql;

// args: connection string; file that this program makes when it is connected; file that it waits for
await using var connection = new NpgsqlConnection(args[0]);
await connection.OpenAsync();
File.WriteAllText(args[1], "");
while (!File.Exists(args[2])) await Task.Delay(50);
using var command = new NpgsqlCommand("select 1", connection);
using var deadline = new CancellationTokenSource();
var call = command.ExecuteScalarAsync(deadline.Token);
deadline.CancelAfter(1_000);
var clock = Stopwatch.StartNew();
var ended = await Task.WhenAny(call, Task.Delay(31_000)) == call;
Console.WriteLine(ended ? $"ended after {clock.Elapsed.TotalSeconds:0} s: {call.Exception?.InnerException?.GetType().Name ?? call.Status.ToString()}" : "not ended 30 s after the cancellation");
Environment.Exit(0);
X
dotnet build -c Release -v q -o "$dir/out" >"$dir/build.log" 2>&1 || { tail -n 5 "$dir/build.log"; exit 1; }

# ask SIGNAL SETTINGS: how a call ends that is cancelled while the server is stopped (STOP) or killed (KILL).
ask() {
  rm -f "$dir/connected" "$dir/go"
  dotnet "$dir/out/client.dll" "Host=127.0.0.1;Port=$port;Username=postgres;Database=postgres;Pooling=false;Command Timeout=0;$2" "$dir/connected" "$dir/go" >"$dir/said" 2>&1 &
  local client=$!
  for _ in {1..200}; do [[ -e $dir/connected ]] && break; sleep 0.1; done
  stopped "$1"
  touch "$dir/go"
  wait "$client" || true
  [[ $1 != STOP ]] || stopped CONT
  cat "$dir/said"
}

default=$(ask STOP '')
short=$(ask STOP 'Cancellation Timeout=500')
gone=$(ask KILL '')
server=''
echo "server hangs, default settings:         $default"
echo "server hangs, Cancellation Timeout=500: $short"
echo "server killed:                          $gone"
[[ $default == not\ ended* && $short == not\ ended* && $gone == ended* ]]
