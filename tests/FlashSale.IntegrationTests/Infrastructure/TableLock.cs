using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// Locks everyone else out of a table. While orders is locked, accepted orders stay in Redis and in the broker.
/// </summary>
public sealed class TableLock : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;

    private TableLock(NpgsqlConnection connection) => _connection = connection;

    public static Task<TableLock> OfOrdersAsync(Database database) => OfAsync(database, "orders");

    public static async Task<TableLock> OfAsync(Database database, string table)
    {
        var held = new TableLock(await database.Source.OpenConnectionAsync());
        await using var command = new NpgsqlCommand($"begin; lock table {table} in access exclusive mode", held._connection);
        await command.ExecuteNonQueryAsync();
        return held;
    }

    public async ValueTask DisposeAsync()
    {
        await using (var command = new NpgsqlCommand("rollback", _connection)) await command.ExecuteNonQueryAsync();
        await _connection.DisposeAsync();
    }
}
