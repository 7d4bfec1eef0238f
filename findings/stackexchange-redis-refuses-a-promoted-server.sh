#!/usr/bin/env bash
# StackExchange.Redis 3.4.35 refuses to write to a server that was a replica when it connected, long after that server was promoted.
#
# Expected: the client sends a write to the server it is connected to; once a REPLICAOF NO ONE has been answered there, the write is taken.
# Seen: SET fails in the client ("requires writable - not eligible for replica") until it asks for the server's role again, which it
#   does by ConfigCheckSeconds, 60 by default. A script that writes (EVALSHA) is sent and succeeds all the while, so half of what a
#   program does works and half does not. READONLY, which the server would answer if it were still a replica, never comes.
#
# Needs the .NET 10 SDK, redis-server (Debian 12: 7.0.15) and about 90 s. Fails when the client writes within 5 s, or not within 90 s.
set -euo pipefail
dir=$(mktemp -d) port=$((20000 + RANDOM % 9000)) pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
command -v redis-server >/dev/null || apt-get install -y -q --no-install-recommends redis-server >/dev/null
redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' >/dev/null &
pids+=($!)
redis-server --port $((port + 1)) --bind 127.0.0.1 --dir "$dir" --save '' --replicaof 127.0.0.1 "$port" >/dev/null &
pids+=($!)

mkdir "$dir/client"
cat >"$dir/client/client.csproj" <<'XML'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
  <ItemGroup><PackageReference Include="StackExchange.Redis" Version="3.4.35" /></ItemGroup>
</Project>
XML
cat >"$dir/client/Program.cs" <<'CS'
using System.Diagnostics;
using StackExchange.Redis;

var port = args[0];
while ((await TryAsync("INFO", "replication") ?? "").Contains("master_link_status:up") is false) await Task.Delay(100);
var options = ConfigurationOptions.Parse($"127.0.0.1:{port}");
options.BacklogPolicy = BacklogPolicy.FailFast;
await using var client = await ConnectionMultiplexer.ConnectAsync(options);
var database = client.GetDatabase();
Process.Start("redis-cli", ["-p", port, "REPLICAOF", "NO", "ONE"]).WaitForExit();
var clock = Stopwatch.StartNew();
var (script, first) = ("", "");
while (true)
{
    try
    {
        script = (string?)await database.ScriptEvaluateAsync("return redis.call('SET', 'by-script', '1').ok") ?? "";
        await database.StringSetAsync("key", "value");
        break;
    }
    catch (RedisConnectionException e)
    {
        if (first.Length == 0) first = e.Message.Split(';')[0];
        if (clock.Elapsed > TimeSpan.FromSeconds(90)) break;
        await Task.Delay(250);
    }
}
Console.WriteLine($"script {script}; SET after {clock.Elapsed.TotalSeconds:0} s, before that: {first}");
return clock.Elapsed.TotalSeconds is > 5 and < 90 && script == "OK" && first.Contains("not eligible for replica") ? 0 : 1;

async Task<string?> TryAsync(params string[] command)
{
    using var process = Process.Start(new ProcessStartInfo("redis-cli", ["-p", port, .. command]) { RedirectStandardOutput = true })!;
    return await process.StandardOutput.ReadToEndAsync();
}
CS
dotnet run --project "$dir/client" -- $((port + 1)) || { echo 'The client does otherwise now.'; exit 1; }
