using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Brings the schema up to date from the SQL files beside this class. Each file runs once, in a transaction of its own.
/// The first process that takes an advisory lock runs them. The others wait for the lock and then find nothing left to
/// do.
/// </summary>
public sealed partial class Migrator(NpgsqlDataSource postgres, ILogger<Migrator> logger)
{
    private const long LockId = 0x464C_5348_0001;
    private const string Folder = "Platform.Migrations.";

    /// <summary>Applies all files that Postgres does not have yet, in the order of their names.</summary>
    /// <exception cref="InvalidOperationException">A file that was applied before has changed since.</exception>
    public async Task RunAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // A migrator that works is never idle for long. An idle one stands still. Postgres then ends its session after
        // 10 s, so that it does not keep the others waiting.
        await connection.ExecuteAsync("set statement_timeout = 0; set lock_timeout = 0; set idle_session_timeout = '10s'");
        await connection.ExecuteAsync("select pg_advisory_lock(@LockId)", new { LockId });
        try
        {
            await connection.ExecuteAsync("""
                create table if not exists schema_migration (
                    name text primary key, checksum text not null, applied_at timestamptz not null default now())
                """);
            var applied = (await connection.QueryAsync<(string Name, string Checksum)>("select name, checksum from schema_migration"))
                .ToDictionary(row => row.Name, row => row.Checksum, StringComparer.Ordinal);
            foreach (var name in Resources.Under(Folder)) await ApplyAsync(connection, name, applied, cancellation);
        }
        finally
        {
            await connection.ExecuteAsync("select pg_advisory_unlock(@LockId); reset statement_timeout; reset lock_timeout; reset idle_session_timeout", new { LockId });
        }
    }

    private async Task ApplyAsync(NpgsqlConnection connection, string resource, Dictionary<string, string> applied, CancellationToken cancellation)
    {
        var name = resource[Folder.Length..];
        var sql = Resources.Read(resource);
        var checksum = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql)));
        if (applied.TryGetValue(name, out var before))
        {
            if (before != checksum) throw new InvalidOperationException($"Migration {name} has changed since it was applied. Add a new file instead.");
            return;
        }
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await connection.ExecuteAsync(sql, transaction: transaction);
        await connection.ExecuteAsync("insert into schema_migration (name, checksum) values (@name, @checksum)", new { name, checksum }, transaction);
        await transaction.CommitAsync(cancellation);
        LogApplied(name);
    }

    [LoggerMessage(1, LogLevel.Information, "Applied migration {Name}")]
    private partial void LogApplied(string name);
}

/// <summary>
/// Migrates as soon as Postgres can be reached. Until then a host starts, and the Api sells, without it.
/// </summary>
public sealed partial class MigrateInBackground(Migrator migrator, ILogger<MigrateInBackground> logger) : BackgroundService
{
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private volatile string? _waitsFor;

    /// <summary>Completes when the schema is up to date.</summary>
    public Task Done => _done.Task;

    /// <summary>The reason why the schema is not up to date, or null when it is.</summary>
    public string? Missing =>
        _done.Task.IsCompletedSuccessfully ? null
        : _waitsFor is { } reason ? $"waits for Postgres: {reason}"
        : "not up to date yet";

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (true)
        {
            try
            {
                await migrator.RunAsync(stoppingToken);
                _done.TrySetResult();
                return;
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                if (Postgres.Misconfigured(e) is { } refusal) HostRunner.End(refusal);
                // After any other failure a host that does not need Postgres now goes on. The other hosts are not ready
                // until the migration succeeds.
                var reason = Postgres.Reason(e);
                if (_waitsFor != reason) LogWaiting(reason);
                _waitsFor = reason;
                await Task.Delay(TimeSpan.FromMilliseconds(500), stoppingToken);
            }
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The schema waits for Postgres: {Reason}")]
    private partial void LogWaiting(string reason);
}
