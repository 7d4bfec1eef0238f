using System.Text.Json;
using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Orders;

/// <summary>
/// Measures the cost of storing a pack in pages that Postgres reads, which is the same on every machine.
/// </summary>
public sealed class PersistCostTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Orders = 100;

    [Fact]
    public async Task A_pack_costs_what_is_in_it_however_many_items_its_sale_has()
    {
        var narrow = await PagesAsync(items: 1);
        // The planner knows only sales of one item, as in the first minutes of the first large sale.
        await ExecuteAsync("analyze sale_item");
        var few = await PagesAsync(items: Orders);
        var many = await PagesAsync(items: 5_000);
        Tell($"{Orders} orders: {narrow} pages in a sale of one item, {few} in one of {Orders}, {many} in one of 5,000");
        Assert.InRange(many, Orders, few * 1.5);
    }

    // Stores orders of as many different items as the sale has, in a transaction that is rolled back.
    private async Task<long> PagesAsync(int items)
    {
        var id = await Stack.Manager.CreateSaleAsync([.. Enumerable.Range(0, items).Select(item => new ItemDraft($"item-{item}", Stock: 1_000))]);
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        // In its first call a session must also find out where everything is, so only the second call counts.
        await PersistAsync(connection, id, items);
        return await PersistAsync(connection, id, items);
    }

    private static async Task<long> PersistAsync(NpgsqlConnection connection, string saleId, int items)
    {
        await using var transaction = await connection.BeginTransactionAsync();
        var plan = await connection.QuerySingleAsync<string>("""
            explain (analyze, buffers, format json)
            select * from persist_reservations(@saleId, (select number from sale where sale_id = @saleId), @ids, @skus, @users, @keys, @quantities, @amounts, @currencies, @accepted)
            """,
            new
            {
                saleId,
                ids = Of(_ => Guid.NewGuid()),
                skus = Of(order => $"item-{order * (items / Orders + 1) % items}"),
                users = Of(order => $"user-{order}"),
                keys = Of(order => $"key-{order}"),
                quantities = Of(_ => 1),
                amounts = Of(_ => 199_900L),
                currencies = Of(_ => "CNY"),
                accepted = Of(_ => TimeProvider.System.GetUtcNow()),
            }, transaction);
        var pages = JsonDocument.Parse(plan).RootElement[0].GetProperty("Plan");
        return pages.GetProperty("Shared Hit Blocks").GetInt64() + pages.GetProperty("Shared Read Blocks").GetInt64();

        static T[] Of<T>(Func<int, T> value) => [.. Enumerable.Range(0, Orders).Select(value)];
    }
}
