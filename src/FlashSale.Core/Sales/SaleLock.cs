using Dapper;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>
/// The advisory lock of a sale, key (1, sale number). Every change to a sale, its items or its live units shares the
/// lock. A load or rebuild takes it exclusively, so the values that it computes from Postgres stay true until Redis has
/// them. It must always be taken before any row lock. Archiving and the reader of the books take it exclusively too.
/// </summary>
public static class SaleLock
{
    /// <summary>
    /// Shares the lock until the transaction ends. Read the sale afterwards: a read before it may have seen another
    /// epoch.
    /// </summary>
    /// <returns>False when there is no such sale.</returns>
    public static async Task<bool> ShareAsync(NpgsqlTransaction transaction, string saleId)
    {
        var connection = transaction.Connection!;
        if (await connection.QuerySingleOrDefaultAsync<int?>("select number from sale where sale_id = @saleId", new { saleId }, transaction) is not { } number)
            return false;
        await connection.ExecuteAsync("select pg_advisory_xact_lock_shared(1, @number)", new { number }, transaction);
        return true;
    }

    /// <summary>
    /// Shares the lock until the transaction ends. It does not wait: it gives up when another session holds the lock
    /// exclusively or waits to.
    /// </summary>
    /// <returns>False when the lock is taken, or there is no such sale.</returns>
    public static Task<bool> TryShareAsync(NpgsqlTransaction transaction, string saleId) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("select pg_try_advisory_xact_lock_shared(1, number) from sale where sale_id = @saleId", new { saleId }, transaction);

    /// <summary>
    /// Takes the lock exclusively until the connection's transaction ends. It waits for all sessions that share it.
    /// </summary>
    /// <exception cref="PostgresException">55P03: the lock was not free within lock_timeout.</exception>
    public static Task TakeAsync(NpgsqlConnection connection, int saleNumber) =>
        connection.ExecuteAsync("select pg_advisory_xact_lock(1, @saleNumber)", new { saleNumber });
}
