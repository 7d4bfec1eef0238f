using Dapper;
using FlashSale.Admission;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Publishes operators' settings that Redis lacks, because it forgot them or because the host that changed them could
/// not publish them. It also writes into the audit log at which degradation level each node works, whether an operator
/// or the node decided it. Any number of workers may see a change. The first one writes it.
/// </summary>
public sealed class OpsKeeper(OpsSettings settings, NpgsqlDataSource postgres, RedisConnection redis, MigrateInBackground migrations, ILogger<OpsKeeper> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(500), migrations, logger)
{
    private const string Action = "degradation.level";

    private readonly Dictionary<string, NodeState> _audited = new(StringComparer.Ordinal);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        await settings.PublishAsync(cancellation);
        foreach (var (node, state) in await NodeState.ReadAllAsync(redis))
        {
            if (_audited.TryGetValue(node, out var last) && (last.Level, last.Since) == (state.Level, state.Since)) continue;
            await AuditAsync(node, state);
            _audited[node] = state;
        }
    }

    private async Task AuditAsync(string node, NodeState state)
    {
        await using var connection = await postgres.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await connection.ExecuteAsync("select pg_advisory_xact_lock(9, hashtext(@node))", new { node }, transaction);
        var (level, since, before) = await connection.QuerySingleOrDefaultAsync<(int, long, string?)>("""
            select (after ->> 'level')::int, (after ->> 'since')::bigint, after::text from audit_log
            where action = @Action and subject = @node order by audit_id desc limit 1
            """, new { Action, node }, transaction);
        // A node that starts at level 0 is no change, and neither is a level that another worker has written down.
        if (level == state.Level && (level == 0 || since == state.Since)) return;
        await AuditLog.WriteAsync(transaction, Actor.Worker, Action, node, before, new { state.Level, state.Cause, state.Since });
        await transaction.CommitAsync();
    }
}
