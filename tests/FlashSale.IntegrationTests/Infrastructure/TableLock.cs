using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Keeps everyone else from the orders table: what is accepted meanwhile stays in Redis and in the broker.</summary>
public sealed class TableLock : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;

    private TableLock(NpgsqlConnection connection) => _connection = connection;

    public static async Task<TableLock> OfOrdersAsync(Database database)
    {
        var held = new TableLock(await database.Source.OpenConnectionAsync());
        await using var command = new NpgsqlCommand("begin; lock table orders in access exclusive mode", held._connection);
        await command.ExecuteNonQueryAsync();
        return held;
    }

    public async ValueTask DisposeAsync()
    {
        await using (var command = new NpgsqlCommand("rollback", _connection)) await command.ExecuteNonQueryAsync();
        await _connection.DisposeAsync();
    }
}
