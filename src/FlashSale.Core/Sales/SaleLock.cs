using Dapper;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>
/// The advisory lock of a sale, key (1, sale number). Whoever changes a sale, its items or its live units shares it;
/// a load or rebuild takes it alone, so that what it computes from Postgres stays true until Redis has it.
/// Taken before any row lock, always.
/// </summary>
public static class SaleLock
{
    /// <summary>Shares the lock until the transaction ends. Read the sale after it: what was read before may be of another epoch.</summary>
    /// <returns>False when there is no such sale.</returns>
    public static async Task<bool> ShareAsync(NpgsqlTransaction transaction, string saleId)
    {
        var connection = transaction.Connection!;
        if (await connection.QuerySingleOrDefaultAsync<int?>("select number from sale where sale_id = @saleId", new { saleId }, transaction) is not { } number)
            return false;
        await connection.ExecuteAsync("select pg_advisory_xact_lock_shared(1, @number)", new { number }, transaction);
        return true;
    }

    /// <summary>Shares the lock until the transaction ends, if nobody has it or waits for it alone.</summary>
    /// <returns>False when it is taken, or there is no such sale.</returns>
    public static Task<bool> TryShareAsync(NpgsqlTransaction transaction, string saleId) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("select pg_try_advisory_xact_lock_shared(1, number) from sale where sale_id = @saleId", new { saleId }, transaction);

    /// <summary>Takes the lock alone until the connection's transaction ends; waits for everyone who shares it.</summary>
    /// <exception cref="PostgresException">55P03: it was not to be had within lock_timeout.</exception>
    public static Task TakeAsync(NpgsqlConnection connection, int saleNumber) =>
        connection.ExecuteAsync("select pg_advisory_xact_lock(1, @saleNumber)", new { saleNumber });
}
