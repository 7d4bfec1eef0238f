using Dapper;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>
/// Checks that Postgres keeps its commits. An order leaves Redis' outbox once Postgres has committed it, so a commit
/// must be durable.
/// </summary>
public static class PostgresDurability
{
    /// <summary>
    /// Describes the setting that makes commits unsafe or impossible, and the remedy. Null when all settings are right.
    /// </summary>
    public static async Task<string?> ProblemAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        var (commit, fsync, names, synchronous) = await connection.QuerySingleAsync<(string, string, string, long)>(new CommandDefinition("""
            select current_setting('synchronous_commit'), current_setting('fsync'), current_setting('synchronous_standby_names'),
                   (select count(*) from pg_stat_replication where coalesce(sync_state, 'sync') in ('sync', 'quorum'))
            """, cancellationToken: cancellation));
        if (fsync != "on") return $"Postgres runs with fsync = {fsync} and loses in a power cut what it has committed: set fsync = on.";
        if (commit == "off") return "Postgres runs with synchronous_commit = off and loses in a crash what it has committed: set synchronous_commit = on.";
        if (names.Length == 0) return null;
        if (commit == "local")
            return $"Postgres runs with synchronous_commit = local, so commits do not wait for synchronous_standby_names = '{names}': set synchronous_commit = on.";
        // Without the right to see sync_state, any standby counts as synchronous.
        return synchronous > 0
            ? null
            : $"Postgres runs with synchronous_standby_names = '{names}', and no synchronous standby is connected, so every commit waits: start the standby, or name one that is there.";
    }
}
