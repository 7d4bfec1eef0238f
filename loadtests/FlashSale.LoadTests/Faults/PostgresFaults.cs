using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text.RegularExpressions;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;
using Npgsql;

namespace FlashSale.LoadTests.Faults;

/// <summary>Faults of a Postgres that blocks the product by locks.</summary>
public static class PostgresFaults
{
    private const int Stormers = 6;
    private const int Readers = 64;

    // This is the setting Postgres:MaxPoolSize of a host.
    private const int Pool = 20;

    private static readonly TimeSpan Lasting = TimeSpan.FromSeconds(8);

    public static IReadOnlyList<Row> Rows { get; } =
    [
        new("postgres-deadlocks", $"{Stormers} sessions lock items and orders of the sale in opposite orders for 8 s")
        {
            Inject = async fault =>
            {
                var said = new FileInfo(fault.Stack.LogOf(Part.Postgres)).Length;
                await using var source = Source(fault.Target);
                var own = await Task.WhenAll(Enumerable.Range(0, Stormers).Select(number => StormAsync(source, fault.Sale.Id, fault.Random.Next(), isBackward: number % 2 > 0)));
                var all = Regex.Count(await fault.Stack.LogSinceAsync(Part.Postgres, said), "deadlock detected", RegexOptions.NonBacktracking);
                if (all > own.Sum()) fault.TookHold($"{all} deadlocks, {all - own.Sum()} of them broken by ending a transaction of the product");
            },
        },
        new("postgres-slow-queries", $"every statement on orders waits for 8 s, and {Readers} shoppers who look at an order of theirs take up the Api's pool")
        {
            Inject = async fault =>
            {
                var stored = await SomeOrdersAsync(fault);
                await using var orders = await LockOrdersAsync(fault);
                // The watch needs a session of its own. Within a transaction Postgres repeats its first answer about
                // other sessions.
                await using var source = Source(fault.Target);
                await using var watch = await source.OpenConnectionAsync();
                using var stop = new CancellationTokenSource();
                var readers = Task.WhenAll(stored.Select((order, number) => ReadAsync(fault, fault.Apis[number % fault.Apis.Count], order, stop.Token)));
                var most = 0L;
                for (var clock = Stopwatch.StartNew(); clock.Elapsed < Lasting; await Task.Delay(100)) most = Math.Max(most, await MostWaitingAsync(watch));
                await orders.CloseAsync();
                await stop.CancelAsync();
                await readers;
                if (most < Pool) throw new InconclusiveException($"only {most} sessions of one host waited at once.");
                fault.TookHold($"{most} sessions of one host waited at once, its whole pool");
            },
        },
    ];

    internal static NpgsqlDataSource Source(Target target) => NpgsqlDataSource.Create(ConnectionString(target));

    /// <summary>Opens a session that blocks every read and write of an order until it is disposed of.</summary>
    internal static async Task<NpgsqlConnection> LockOrdersAsync(Fault fault)
    {
        var connection = new NpgsqlConnection(ConnectionString(fault.Target));
        await connection.OpenAsync();
        await ExecuteAsync(connection, "begin; lock table orders in access exclusive mode");
        return connection;
    }

    /// <returns>Number of times that this session had to give way.</returns>
    private static async Task<int> StormAsync(NpgsqlDataSource source, string saleId, int seed, bool isBackward)
    {
        var random = new Random(seed);
        var order = isBackward ? "desc" : "asc";
        var ended = 0;
        await using var connection = await source.OpenConnectionAsync();
        // A session that has waited for this time looks for deadlocks and gives way. The product waits only 1 s, so
        // with a longer wait here the product gives way.
        await ExecuteAsync(connection, "set deadlock_timeout = '1500ms'");
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < Lasting; await Task.Delay(random.Next(1, 50)))
        {
            try
            {
                await using var transaction = await connection.BeginTransactionAsync();
                foreach (var sql in (string[])
                [
                    $"select 1 from sale_item where sale_id = '{saleId}' and sku = (select {(isBackward ? "max" : "min")}(sku) from sale_item where sale_id = '{saleId}') for update",
                    $"select 1 from (select order_id from orders where sale_id = '{saleId}' order by order_id {order} limit 20 for update) o",
                    "select pg_sleep(0.02)",
                    $"select 1 from sale_item where sale_id = '{saleId}' order by sku {order} for update",
                ]) await ExecuteAsync(connection, sql);
                await transaction.CommitAsync();
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DeadlockDetected)
            {
                ended++;
            }
        }
        return ended;
    }

    // The sessions are not pooled, because a connection from before the fault is of no use after it.
    private static string ConnectionString(Target target) =>
        new NpgsqlConnectionStringBuilder(Verdict.ConnectionString(target.Postgres)) { Pooling = false, ApplicationName = "fault run" }.ConnectionString;

    private static async Task<(Guid Id, string UserId)[]> SomeOrdersAsync(Fault fault)
    {
        await using var source = Source(fault.Target);
        await using var command = source.CreateCommand($"select order_id, user_id from orders where sale_id = '{fault.Sale.Id}' limit {Readers}");
        await using var reader = await command.ExecuteReaderAsync();
        List<(Guid, string)> orders = [];
        while (await reader.ReadAsync()) orders.Add((reader.GetGuid(0), reader.GetString(1)));
        return [.. orders];
    }

    // This reads single orders. A node under pressure gives up lists of orders first, but a single order can always be
    // read.
    private static async Task ReadAsync(Fault fault, Uri api, (Guid Id, string UserId) order, CancellationToken cancel)
    {
        using var http = new HttpClient { BaseAddress = api };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", new Tokens(fault.Target).For(order.UserId));
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                using var response = await http.GetAsync($"/api/v1/orders/{order.Id}", cancel);
                await Task.Delay(50, cancel);
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
            {
                // The readers only fill the pool, so their answers do not matter here.
            }
        }
    }

    private static async Task<long> MostWaitingAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand(
            "select coalesce(max(n), 0) from (select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() group by application_name) w", connection);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }
}
