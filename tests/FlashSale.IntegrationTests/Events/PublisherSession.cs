using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Events;

/// <summary>The role of the publisher in Postgres: the advisory lock (4, 0).</summary>
public static class PublisherSession
{
    private const string Holder =
        "select l.pid from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and locktype = 'advisory' and classid = 4 and objid = 0 and objsubid = 2 and granted";

    /// <summary>The process id of the session that has the role, or null when no session has it.</summary>
    public static async Task<int?> HolderAsync(Database database)
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        return await connection.QuerySingleOrDefaultAsync<int?>(Holder);
    }

    /// <summary>Ends the session that has the role.</summary>
    public static async Task EndAsync(Database database)
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync($"select pg_terminate_backend(pid) from ({Holder}) h");
    }

    /// <summary>
    /// Takes the role until the connection is closed, so that nothing is published. No worker may be running at the
    /// call.
    /// </summary>
    public static async Task<NpgsqlConnection> TakeAsync(Database database)
    {
        var connection = new NpgsqlConnection(Database.ConnectionString(database.Url, pooling: false));
        await connection.OpenAsync();
        await Eventually.TrueAsync("nobody publishes", TimeSpan.FromSeconds(20), () => connection.ExecuteScalarAsync<bool>("select pg_try_advisory_lock(4, 0)"));
        return connection;
    }
}
