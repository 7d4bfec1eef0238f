using Dapper;
using FlashSale.Contracts;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// A message that is delivered twice counts once. A reservation that cannot be stored becomes a dead letter and holds
/// up no other.
/// </summary>
public sealed class DeliveryTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task The_same_message_delivered_five_times_stores_each_order_once()
    {
        var sale = await Stack.OpenSaleAsync(stock: 300);
        await using var tap = await MessageTap.OpenAsync(Stack.Broker);
        await Crowd.AllBuyAsync(Stack, sale, users: 300);
        var before = await Books.CheckAsync(Stack, sale);
        Assert.True(await tap.ReservationsAsync() >= 300);

        var messages = (await tap.MessagesAsync()).ToArray();
        await Crowd.EachAsync(messages.SelectMany(message => Enumerable.Repeat(message, 5)), 1, tap.PublishAgainAsync);
        await QueuesAreEmptyAsync();
        var after = await Books.CheckAsync(Stack, sale);
        Assert.Equal(before.Orders.OrderBy(order => order.OrderId), after.Orders.OrderBy(order => order.OrderId));
        Assert.Equal(before.Remaining, after.Remaining);
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task Repeats_that_meet_the_first_delivery_store_each_order_once()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await using var tap = await MessageTap.OpenAsync(Stack.Broker);
        var buying = Crowd.BuyAsync(Stack, sale, users: 1_500);
        // Publish each message again as soon as the tap sees it, while both workers store its orders. The tap sees the
        // copies too and knows them by their id.
        HashSet<string?> repeated = [];
        while (!buying.IsCompleted || repeated.Count == 0)
        {
            foreach (var message in (await tap.MessagesAsync()).Where(message => repeated.Add(message.BasicProperties.MessageId)).ToArray())
            {
                for (var again = 0; again < 5; again++) await tap.PublishAgainAsync(message);
            }
            await Task.Delay(5);
        }
        Assert.Equal(1_000, await buying);
        Assert.NotEmpty(repeated);
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(1_000, view.Items.Single().Sold);
    }

    [Fact]
    public async Task One_poison_reservation_among_five_hundred_goes_to_the_dead_letters_and_the_others_are_stored()
    {
        var sale = await Stack.OpenSaleAsync(stock: 500);
        await ExecuteAsync("alter table orders add constraint poison check (user_id <> 'user-250') not valid");
        try
        {
            foreach (var worker in Stack.Workers) worker.Freeze();
            await Crowd.AllBuyAsync(Stack, sale, users: 500, atATime: 128);
            foreach (var worker in Stack.Workers) worker.Thaw();
            var view = await Books.CheckAsync(Stack, sale);
            Assert.Equal(499, view.Orders.Count);
            var poison = sale.History.Accepted.Single(told => told.UserId == "user-250");
            Assert.Equal(poison.Answer.OrderId, Assert.Single(view.DeadLetters));
            Assert.Equal("23514", await ScalarAsync("select sqlstate from dead_letter where sale_id = @id", sale));
            // The buyer still sees the order as accepted, and the books count its unit as in flight.
            Assert.Equal("accepted", (await Stack.Shopper("user-250").OrderAsync(poison.Answer.OrderId)).Member("status"));
            Assert.Equal(1, view.InflightUnits[sale.Sku]);
            await Crowd.ReplayAsync(Stack, sale);
        }
        finally
        {
            await ExecuteAsync("alter table orders drop constraint poison");
        }
    }

    [Fact]
    public async Task A_retried_dead_letter_becomes_an_order_and_a_rejected_one_is_told_and_replayed_also_after_a_rebuild()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (retried, rejected, abandoned) = await DeadLettersAsync(sale);
        await Eventually.TrueAsync("the worker tells of them", TimeSpan.FromSeconds(30), async () => await Figures.OfAsync(Stack.Worker, "flashsale_dead_letters") >= 3);
        Assert.Contains("wait for an operator", Stack.Worker.Output, StringComparison.Ordinal);
        Assert.Equal(200, (await Stack.Manager.PostAsync($"/api/v1/dead-letters/{retried}/retry")).Status);
        Refusal.AssertIs(409, "dead_letter_resolved", await Stack.Manager.PostAsync($"/api/v1/dead-letters/{retried}/retry"));
        Assert.Equal(200, (await Stack.Manager.PostAsync($"/api/v1/dead-letters/{rejected}/reject", new { reason = "No such address" })).Status);
        // The row looks as if a host had decided and died before it could tell Redis.
        await ExecuteAsync($"update dead_letter set state = 'rejected', reason = 'No such address', resolved_at = now() where dead_letter_id = {abandoned}");
        await Eventually.TrueAsync("nothing is in flight", TimeSpan.FromSeconds(30), async () => await Stack.Redis.Client.NumberAsync("HLEN", sale.RedisPrefix + "inflight") == 0);
        for (var round = 0; round < 2; round++)
        {
            Assert.Equal("pending_payment", (await OrderOfAsync("poison-1")).Member("status"));
            foreach (var user in (string[])["poison-2", "poison-3"])
            {
                var order = await OrderOfAsync(user);
                Assert.Equal(("rejected", "No such address"), (order.Member("status"), order.Member("reason")));
                var told = sale.History.Accepted.Single(told => told.UserId == user);
                var again = await Stack.Shopper(user, 1).PurchaseAsync(sale.Id, $$"""{"sku":"{{sale.Sku}}","quantity":1}""", told.Key);
                Assert.True(again.Status == 202 && again.IsReplay && again.Body.AsSpan().SequenceEqual(told.Answer.Body), again.ToString());
            }
            Assert.Equal(9, await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "stock", sale.Sku));
            Assert.True((await Stack.Manager.LedgerAsync(sale.Id)).GetProperty("balanced").GetBoolean());
            await Stack.Manager.PauseAsync(sale.Id);
            await Stack.Manager.RebuildAsync(sale.Id);
            await Stack.Manager.ResumeAsync(sale.Id);
            await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        }
        Assert.Equal("2", await ScalarAsync($"select count(*)::text from audit_log where subject in ('dead-letter/{retried}', 'dead-letter/{rejected}')", sale));

        async Task<Answer> OrderOfAsync(string user) => Manager.Expect(200, await Stack.Shopper(user, 1).OrderAsync(sale.History.Accepted.Single(told => told.UserId == user).Answer.OrderId));
    }

    [Fact]
    public async Task A_dead_letter_is_retried_before_a_ledger_that_waits_for_the_sale()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (first, _, _) = await DeadLettersAsync(sale);
        await using var letters = await Stack.Database.Source.OpenConnectionAsync();
        await using var decision = await letters.BeginTransactionAsync();
        await letters.ExecuteAsync("select 1 from dead_letter where dead_letter_id = @first for update", new { first });
        // The retry shares the lock of the sale and waits for the letter. Then the ledger asks for the lock
        // exclusively.
        var retry = Stack.Manager.PostAsync($"/api/v1/dead-letters/{first}/retry");
        await WaitsAsync("the retry waits for the letter", "locktype = 'transactionid'");
        await using var ledger = await Stack.Database.Source.OpenConnectionAsync();
        await using var books = await ledger.BeginTransactionAsync();
        var reading = ledger.ExecuteAsync("select pg_advisory_xact_lock(1, number) from sale where sale_id = @Id", new { sale.Id });
        await WaitsAsync("the ledger waits for the retry", "locktype = 'advisory' and mode = 'ExclusiveLock'");
        await decision.RollbackAsync();
        Assert.Equal(200, (await retry).Status);
        await reading;

        Task WaitsAsync(string what, string which) => Eventually.TrueAsync(what, TimeSpan.FromSeconds(30), async () =>
            await ScalarAsync($"select count(*)::text from pg_locks where not granted and {which} and (database is null or database = (select oid from pg_database where datname = current_database()))", sale) != "0");
    }

    [Fact]
    public async Task Records_that_no_row_may_hold_are_dead_letters_one_by_one()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 10), new ItemDraft("phone-2", 10)]);
        var number = int.Parse((await ScalarAsync("select number::text from sale where sale_id = @id", sale))!);
        (string User, string Sku, int Quantity)[] entry = [("a", "phone-1", 1), ("b", "phone-1", 0), ("c", "phone-2", 1), ("d", "no-such-item", 1), ("e", "phone-1", 1)];
        // No Api made these purchases, so the history holds them with an unknown outcome.
        foreach (var (user, sku, quantity) in entry) sale.History.Add(new Attempt(user, "crafted", sku, quantity, new Answer(0, new Dictionary<string, string>(), [], TimeSpan.Zero)));
        byte[] records = [ReservationCodec.Version, .. entry.SelectMany(r => Record(number, r.User, r.Sku, r.Quantity))];
        await Stack.Redis.Client.CallAsync("XADD", sale.RedisPrefix + "outbox", "*", "r", records);
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(["a", "c", "e"], view.Orders.Select(order => order.UserId).Order());
        Assert.Equal(2, view.DeadLetters.Count);
        Assert.Equal((8, 9), (view.Remaining["phone-1"], view.Remaining["phone-2"]));
    }

    [Fact]
    public async Task An_entry_of_an_unknown_version_waits_and_holds_up_nobody()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        var entry = (byte[])(await Stack.Redis.Client.CallAsync("XADD", sale.RedisPrefix + "outbox", "*", "r", new byte[] { 99, 1, 2, 3 }))!;
        await Crowd.AllBuyAsync(Stack, sale, users: 100);
        await Eventually.TrueAsync("all others are stored", TimeSpan.FromSeconds(20), async () => await ScalarAsync("select count(*)::text from orders where sale_id = @id", sale) == "100");
        await Eventually.TrueAsync("only the unknown entry is left", TimeSpan.FromSeconds(20), async () => await Stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") == 1);
        Assert.Equal("0", await ScalarAsync("select count(*)::text from dead_letter where sale_id = @id", sale));
        Assert.Equal(1, await Stack.Redis.Client.NumberAsync("XDEL", sale.RedisPrefix + "outbox", entry));
        await Books.CheckAsync(Stack, sale);
    }

    // A constraint keeps three purchases from being stored. It is dropped once their dead letters exist.
    private async Task<(long First, long Second, long Third)> DeadLettersAsync(Sale sale)
    {
        await ExecuteAsync("alter table orders add constraint poison check (user_id not like 'poison-%') not valid");
        try
        {
            foreach (var user in (string[])["poison-1", "poison-2", "poison-3"])
            {
                await Stack.Shopper(user).BuyAsync(sale);
                await Eventually.TrueAsync($"{user} has a dead letter", TimeSpan.FromSeconds(30), async () =>
                    await ScalarAsync("select count(*)::text from dead_letter where sale_id = @id", sale) == user[^1..]);
            }
        }
        finally
        {
            await ExecuteAsync("alter table orders drop constraint poison");
        }
        var first = long.Parse((await ScalarAsync("select min(dead_letter_id)::text from dead_letter where sale_id = @id", sale))!);
        return (first, first + 1, first + 2);
    }

    private static byte[] Record(int saleNumber, string user, string sku, int quantity)
    {
        var hash = Fingerprints.OfUser(user);
        var id = OrderId.New(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), hash, saleNumber);
        return ReservationCodec.Encode(id, hash, sku == "phone-2" ? 2 : 1, sku, user, "crafted", quantity, 100, "CNY");
    }

    private async Task QueuesAreEmptyAsync() =>
        await Eventually.TrueAsync("the consumers have taken every message", TimeSpan.FromSeconds(30), async () =>
        {
            var messages = await Stack.Broker.MessagesAsync();
            return (await Stack.Broker.QueuesAsync()).Where(queue => !queue.StartsWith("amq.", StringComparison.Ordinal)).All(queue => messages[queue] == 0);
        });

    private async Task ExecuteAsync(string sql)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync(sql);
    }

    private async Task<string?> ScalarAsync(string sql, Sale sale)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        return await connection.ExecuteScalarAsync<string>(sql, new { id = sale.Id });
    }
}
