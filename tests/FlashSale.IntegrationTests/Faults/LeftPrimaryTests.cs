using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// A standby is promoted while the old primary goes on, and one worker still reaches the old one. Orders that it stored
/// there would leave Redis and be in no store that anybody uses.
/// </summary>
public sealed class LeftPrimaryTests(WithStandbys fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<WithStandbys>
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task A_worker_that_still_reaches_the_old_primary_stores_no_order_there()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await using var promoted = await Stack.Postgres!.StartStandbyAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres.CaughtUpAsync(promoted);
        await promoted.PromoteAsync();
        var url = Stack.Database.UrlOn(promoted);
        await using var other = new HostProcess("Worker", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Postgres__Url"] = url });
        await other.StartAsync();
        await Eventually.TrueAsync("the first worker knows that its primary was left behind", Deadline, () => Stack.Worker.Output.Contains("left behind", StringComparison.Ordinal));
        await Crowd.AllBuyAsync(Stack, sale, users: 60, prefix: "after", atATime: 4);
        await Eventually.TrueAsync("all orders are in the new primary", Deadline, async () => await OrdersAsync(url) == 70);
        Assert.Equal(10, await OrdersAsync(Stack.Database.Url));
    }

    private static async Task<long> OrdersAsync(string url)
    {
        await using var connection = new NpgsqlConnection(Database.ConnectionString(url, pooling: false));
        await connection.OpenAsync();
        return await connection.ExecuteScalarAsync<long>("select count(*) from orders");
    }
}
