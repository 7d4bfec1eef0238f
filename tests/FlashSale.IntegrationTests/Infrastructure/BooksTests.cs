using System.Text;
using Dapper;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// The checker that ends all other tests sees every kind of violation. Here it gets books that are known to be wrong.
/// </summary>
public sealed class BooksTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    [Fact]
    public async Task Books_of_an_undisturbed_sale_are_in_order()
    {
        var (sale, view) = await SellAsync();
        Assert.Equal(5, view.Orders.Count);
        Assert.Empty(Books.Judge(view, sale.History));
    }

    [Theory]
    [InlineData("I1", "alter table sale_item drop constraint sale_item_sold_within_stock; update sale_item set sold = stock + 1 where sale_id = @id")]
    [InlineData("I2", "update sale_item set sold = sold + 1 where sale_id = @id")]
    [InlineData("I2", "update sale_item set stock = stock + 1 where sale_id = @id")]
    [InlineData("I2", "update orders set status = 'cancelled' where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I3", "delete from orders where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I3", "update orders set quantity = quantity + 1 where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I3", "update orders set user_id = 'somebody-else' where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I3", "update orders set status = 'rejected' where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I4", "update sale_item set per_user_limit = 1 where sale_id = @id; update orders set quantity = 2 where sale_id = @id")]
    [InlineData("I4", "update user_quota set units = 0 where sale_id = @id")]
    [InlineData("I4", "insert into user_quota (sale_id, user_id, sku, units, unit_limit) values (@id, 'nobody', 'phone-1', 1, 2)")]
    [InlineData("I4", """
        drop index orders_one_per_key;
        insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at)
        select gen_random_uuid(), sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at from orders where sale_id = @id limit 1
        """)]
    [InlineData("I7", """
        insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at)
        values (gen_random_uuid(), @id, 'phone-1', 'was-told-503', 1, 1, 'CNY', 'pending_payment', 'k', now())
        """)]
    public async Task A_violation_in_postgres_is_seen(string promise, string violation)
    {
        var (sale, _) = await SellAsync();
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        // The end of the connection undoes the violation, so the next one finds right books again.
        await using var transaction = await connection.BeginTransactionAsync();
        await connection.ExecuteAsync(violation, new { id = sale.Id }, transaction);
        var broken = Books.Judge(await BooksView.ReadAsync(connection, Stack.Redis.Client, sale.Id), sale.History).ToArray();
        Assert.Contains(broken, line => line.StartsWith(promise, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("I2", "HINCRBY", "stock", "phone-1", "1")]
    [InlineData("I2", "HINCRBY", "stock", "phone-1", "-1")]
    [InlineData("I1", "HSET", "stock", "phone-1", "-1")]
    [InlineData("I2", "HDEL", "stock", "phone-1")]
    [InlineData("I2", "HINCRBY", "inflight_units", "phone-1", "1")]
    public async Task A_violation_in_redis_is_seen(string promise, string command, string key, params string[] arguments)
    {
        var (sale, _) = await SellAsync();
        await Stack.Redis.Client.CallAsync([command, sale.RedisPrefix + key, .. arguments]);
        var broken = Books.Judge(await Books.ReadAsync(Stack, sale), sale.History).ToArray();
        Assert.Contains(broken, line => line.StartsWith(promise, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_ledger_that_tells_something_else_is_seen()
    {
        var (sale, view) = await SellAsync();
        Assert.Empty(Books.JudgeLedger(view, await Stack.Manager.LedgerAsync(sale.Id)));
        var other = view with { Items = [.. view.Items.Select(item => item with { Stock = item.Stock + 1 })] };
        Assert.NotEmpty(Books.JudgeLedger(other, await Stack.Manager.LedgerAsync(sale.Id)));
    }

    [Fact]
    public async Task Replays_that_differ_or_are_not_marked_are_seen()
    {
        var (sale, view) = await SellAsync();
        var told = sale.History.Accepted[0];
        sale.History.Add(told with { Answer = told.Answer with { Body = Encoding.UTF8.GetBytes(told.Answer.Text + " ") } });
        Assert.Equal(2, Books.Judge(view, sale.History).Count(line => line.StartsWith("I5", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_outbox_that_is_not_empty_is_no_rest()
    {
        var (sale, view) = await SellAsync();
        Assert.True(view.IsAtRest);
        Assert.False((view with { OutboxLength = 1 }).IsAtRest);
        Assert.False((view with { Inflight = [new LoadTests.Verdicts.InflightRow(Guid.NewGuid(), sale.Sku, 1)] }).IsAtRest);
    }

    private async Task<(Sale Sale, BooksView View)> SellAsync()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10, perUserLimit: 2);
        await Crowd.AllBuyAsync(Stack, sale, users: 5);
        return (sale, await Books.CheckAsync(Stack, sale));
    }
}
