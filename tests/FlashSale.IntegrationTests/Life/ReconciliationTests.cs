using System.Security.Cryptography;
using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// The stack of <see cref="Lively"/> that also repairs a standing difference and archives a finished sale at once.
/// </summary>
public sealed class Repairing() : StackFixture(new StackOptions
{
    Settings = new(LifeTest.Settings()) { ["Reconcile__Repair"] = "true", ["Reconcile__ArchiveAfterMinutes"] = "0", ["RedisLog__RewriteAboveMegabytes"] = "1" },
});

/// <summary>
/// A standing difference is shown. It is repaired only where repair is switched on, and then towards Postgres.
/// </summary>
public sealed class ReconciliationTests(Lively fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Lively>
{
    [Fact]
    public async Task A_difference_that_stands_is_told_and_left_alone()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        // Nobody accounts for this unit.
        await Stack.Redis.Client.CallAsync("HINCRBY", sale.RedisPrefix + "stock", sale.Sku, "1");
        var ledger = await Eventually.GetAsync("the difference has stood three times", TimeSpan.FromSeconds(30), () => Stack.Manager.LedgerAsync(sale.Id),
            books => books.GetProperty("reconciliation").ValueKind is System.Text.Json.JsonValueKind.Object && books.GetProperty("reconciliation").GetProperty("runsUnbalanced").GetInt32() >= 3);
        Assert.False(ledger.GetProperty("balanced").GetBoolean());
        Assert.Equal(-1, ledger.GetProperty("items")[0].GetProperty("difference").GetInt32());
        Assert.Equal(-1, ledger.GetProperty("reconciliation").GetProperty("differences").GetProperty(sale.Sku).GetInt32());
        Assert.Equal(91, await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "stock", sale.Sku));
        // A difference that is repaired by hand is forgotten at the next comparison.
        await Stack.Redis.Client.CallAsync("HINCRBY", sale.RedisPrefix + "stock", sale.Sku, "-1");
        await Eventually.TrueAsync("the books balance again", TimeSpan.FromSeconds(15), async () =>
            (await Stack.Manager.LedgerAsync(sale.Id)).GetProperty("reconciliation").GetProperty("runsUnbalanced").GetInt32() == 0);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_comparison_that_has_to_wait_keeps_nobody_from_the_orders_table()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await using var rebuild = await Stack.Database.Source.OpenConnectionAsync();
        await using var held = await rebuild.BeginTransactionAsync();
        await rebuild.ExecuteAsync("select pg_advisory_xact_lock(1, number) from sale where sale_id = @Id", new { sale.Id });
        await Eventually.TrueAsync("a comparison waits for the sale", TimeSpan.FromSeconds(30), async () =>
            await ScalarAsync<long>("select count(*) from pg_locks where locktype = 'advisory' and classid = 1 and not granted and database = (select oid from pg_database where datname = current_database())") > 0);
        // A migration would take the same lock.
        await using var migration = await Stack.Database.Source.OpenConnectionAsync();
        await migration.ExecuteAsync("begin; set local lock_timeout = '5s'; lock table orders in access exclusive mode; rollback");
        await held.RollbackAsync();
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_full_count_finds_what_counters_hide()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        var clean = (await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/ledger?full=true")).Json;
        Assert.True(clean.GetProperty("balanced").GetBoolean());
        Assert.Equal(0, clean.GetProperty("reconciliation").GetProperty("findings").GetArrayLength());
        // Change an order and a quota behind the product's back.
        await ExecuteAsync("update orders set status = 'cancelled' where order_id = (select order_id from orders where sale_id = @Id and user_id = 'user-1')", new { sale.Id });
        await ExecuteAsync("update user_quota set units = 0 where sale_id = @Id and user_id = 'user-2'", new { sale.Id });
        var found = (await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/ledger?full=true")).Json;
        Assert.False(found.GetProperty("balanced").GetBoolean());
        var findings = found.GetProperty("reconciliation").GetProperty("findings").EnumerateArray().Select(finding => finding.GetString()!).ToArray();
        Assert.Contains(findings, finding => finding == $"{sale.Sku}: sold says 10, orders hold 9");
        Assert.Contains(findings, finding => finding.StartsWith("user-1, ", StringComparison.Ordinal));
        Assert.Contains(findings, finding => finding.StartsWith("user-2, ", StringComparison.Ordinal));
        Assert.Equal(3, findings.Length);
        Refusal.AssertIs(400, "invalid_request", await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/ledger?full=maybe"));
    }
}

/// <summary>With repair switched on, differences are repaired. A sale leaves Redis as soon as it may.</summary>
public sealed class RepairAndArchiveTests(Repairing fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Repairing>
{
    [Fact]
    public async Task A_difference_that_stands_is_repaired_towards_postgres_and_audited()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        await Stack.Redis.Client.CallAsync("HINCRBY", sale.RedisPrefix + "stock", sale.Sku, "-7");
        await Eventually.TrueAsync("the units are back", TimeSpan.FromSeconds(30), async () => await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "stock", sale.Sku) == 90);
        await Eventually.TrueAsync("the repair is in the audit log", TimeSpan.FromSeconds(10), async () =>
            await ScalarAsync<long>("select count(*) from audit_log where action = 'sale.repair' and subject = @Id and actor = 'worker'", new { sale.Id }) == 1);
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_closed_and_reconciled_sale_leaves_redis_and_its_orders_stay_readable()
    {
        var sale = await Stack.OpenSaleAsync(stock: 20);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        var orders = sale.History.Accepted.ToArray();
        foreach (var told in orders[..6]) await PayAsync(told.Answer.OrderId);
        await Stack.Manager.CloseAsync(sale.Id);
        // Four orders still wait for payment, so the sale is not archived.
        await Eventually.TrueAsync("the closed sale has been compared", TimeSpan.FromSeconds(15), async () =>
            await ScalarAsync<bool>("select run_at > closed_at from sale join reconciliation using (sale_id) where sale_id = @Id", new { sale.Id }));
        Assert.Equal("closed", await ScalarAsync<string>("select status from sale where sale_id = @Id", new { sale.Id }));
        await DueInAsync(sale, 0);
        await Eventually.TrueAsync("the sale is archived and its keys are gone", TimeSpan.FromSeconds(30), async () =>
            await ScalarAsync<bool>("select keys_removed from sale where sale_id = @Id", new { sale.Id }));
        Assert.Empty(await Stack.Redis.DigestAsync(sale.RedisPrefix));
        Assert.Equal(0, await Stack.Redis.Client.NumberAsync("SISMEMBER", "fs:outboxes", sale.Id));
        Assert.Equal("paid", (await Stack.Shopper(orders[0].UserId).OrderAsync(orders[0].Answer.OrderId)).Member("status"));
        Assert.Equal("expired", (await Stack.Shopper(orders[9].UserId).OrderAsync(orders[9].Answer.OrderId)).Member("status"));
        await Eventually.GetAsync("the node has forgotten the sale", TimeSpan.FromSeconds(10), () => Stack.Shopper("late").BuyAsync(sale), answer => answer.Code == "sale_not_found");
        // A refund after that returns no unit to Redis, but the money all the same.
        Assert.Equal(200, (await Stack.Manager.RefundAsync(orders[0].Answer.OrderId)).Status);
        Assert.Equal("superseded", await ScalarAsync<string>("select state from stock_return where order_id = @orderId", new { orderId = orders[0].Answer.OrderId }));
        Assert.Empty(await Stack.Redis.DigestAsync(sale.RedisPrefix));
        // The archived sale's books stay true: five orders hold a unit each, and nobody has the other fifteen.
        var ledger = await Stack.Manager.LedgerAsync(sale.Id);
        Assert.True(ledger.GetProperty("balanced").GetBoolean());
        var line = ledger.GetProperty("items")[0];
        Assert.Equal((20, 15, 0, 5, 0), (Units(line, "stock"), Units(line, "remaining"), Units(line, "inFlight"), Units(line, "live"), Units(line, "difference")));
        var stats = (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0];
        Assert.Equal((15, 10, 5, 1, 4), (Units(stats, "remaining"), Units(stats, "accepted"), Units(stats, "paid"), Units(stats, "refunded"), Units(stats, "expired")));
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from audit_log where action = 'sale.archive' and subject = @Id", new { sale.Id }));
    }

    [Fact]
    public async Task The_file_of_redis_is_rewritten_when_it_has_grown_although_a_sale_is_open()
    {
        var sale = await Stack.OpenSaleAsync(stock: 20);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        // The worker rewrites nothing in the first minute of a sale.
        await ExecuteAsync("update sale set opens_at = opens_at - interval '10 minutes' where sale_id = @Id", new { sale.Id });
        // The values are random, since Redis compresses the values that it rewrites.
        for (var i = 0; i < 4; i++) await Stack.Redis.Client.CallAsync("SET", "the-same-key", Convert.ToBase64String(RandomNumberGenerator.GetBytes(750_000)));
        await Eventually.TrueAsync("one of four copies is left", TimeSpan.FromSeconds(60), async () =>
            await Figures.OfAsync(Stack.Worker, "flashsale_redis_log_base_bytes") is > 1_000_000 and < 2_000_000);
        Assert.Equal(1, await Figures.ShownAsync(Stack.Worker, "flashsale_redis_log_written"));
        Assert.InRange(await Figures.ShownAsync(Stack.Worker, "flashsale_redis_log_bytes"), 1_000_000, 2_000_000);
        await Stack.Redis.RestartAsync();
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
        await Crowd.ReplayAsync(Stack, sale);
    }

    private static int Units(System.Text.Json.JsonElement line, string name) => line.GetProperty(name).GetInt32();
}
