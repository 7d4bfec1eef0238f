using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admission;

/// <summary>
/// A ticket buys once, for its user, in its sale, until it expires or the sale is rebuilt. A retry needs no ticket.
/// </summary>
public sealed class TicketTests(TwoApis fixture, ITestOutputHelper output) : AdmissionTest(fixture, output), IClassFixture<TwoApis>
{
    private static readonly byte[] OtherKey = Encoding.ASCII.GetBytes(new string('k', 32));

    private static readonly Dictionary<string, Func<TicketTests, Sale, Task<string>>> BadTickets = new(StringComparer.Ordinal)
    {
        ["empty"] = (_, _) => Task.FromResult(""),
        ["a word"] = (_, _) => Task.FromResult("ticket"),
        ["80 characters of nothing"] = (_, _) => Task.FromResult(new string('A', 80)),
        ["80 blanks and signs"] = (_, _) => Task.FromResult(string.Concat(Enumerable.Repeat("= +/", 20))),
        ["8,000 characters"] = (_, _) => Task.FromResult(new string('A', 8_000)),
        ["one character less"] = async (test, sale) => (await test.Stack.Shopper("u").TicketAsync(sale))[..^1],
        ["one character more"] = async (test, sale) => await test.Stack.Shopper("u").TicketAsync(sale) + "A",
        ["in quotes"] = async (test, sale) => $"\"{await test.Stack.Shopper("u").TicketAsync(sale)}\"",
        ["two at once"] = async (test, sale) => $"{await test.Stack.Shopper("u").TicketAsync(sale)}, {await test.Stack.Shopper("u").TicketAsync(sale)}",
        ["another user's"] = (test, sale) => test.Stack.Shopper("v").TicketAsync(sale),
        ["another sale's"] = async (test, _) => await test.Stack.Shopper("u").TicketAsync(await test.Stack.OpenTicketedSaleAsync(stock: 1)),
        ["another key's"] = async (test, sale) => AdmissionForge.Ticket(sale.Id, "u", await test.EpochAsync(sale), await test.RedisNowAsync() + 60_000, OtherKey),
        ["expired"] = async (test, sale) => AdmissionForge.Ticket(sale.Id, "u", await test.EpochAsync(sale), await test.RedisNowAsync()),
        ["of an earlier epoch"] = async (test, sale) => AdmissionForge.Ticket(sale.Id, "u", await test.EpochAsync(sale) - 1, await test.RedisNowAsync() + 60_000),
        ["of a later epoch"] = async (test, sale) => AdmissionForge.Ticket(sale.Id, "u", await test.EpochAsync(sale) + 1, await test.RedisNowAsync() + 60_000),
    };

    public static TheoryData<string> Cases => [.. BadTickets.Keys];

    [Fact]
    public async Task A_ticket_buys_once()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5);
        Assert.True((await Stack.Shopper("u").GetAsync($"/api/v1/sales/{sale.Id}")).Json.GetProperty("requiresTicket").GetBoolean());
        var before = await RedisNowAsync();
        var admission = Manager.Expect(200, await Stack.Shopper("u").AdmitAsync(sale.Id));
        Assert.Equal(["expiresAt", "ticket"], admission.Json.EnumerateObject().Select(member => member.Name).Order());
        Assert.Equal("no-store", admission.Header("cache-control"));
        Assert.InRange(GivenAt(admission), before, await RedisNowAsync());

        var ticket = admission.Member("ticket")!;
        Assert.Equal(202, (await Stack.Shopper("u", node: 1).BuyAsync(sale, "a", ticket: ticket)).Status);
        for (var node = 0; node < 2; node++) Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("u", node).BuyAsync(sale, "b", ticket: ticket));
        // Another ticket buys again: the ticket is used up, not the user.
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, "b", ticket: await Stack.Shopper("u").TicketAsync(sale))).Status);
        Assert.Equal(2, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_user_has_one_ticket_at_a_time_however_often_and_wherever_he_asks()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5, admissionPerSecond: 1);
        var first = await Stack.Shopper("greedy").TicketAsync(sale);
        for (var round = 0; round < 2; round++)
        {
            // Above the rate a node refuses every request for a moment. A ticket that is given is always the same.
            var again = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Stack.Shopper("greedy", node: i % 2).AdmitAsync(sale.Id)));
            Assert.All(again.Where(answer => answer.Status == 200), answer => Assert.Equal(first, answer.Member("ticket")));
            Assert.All(again.Where(answer => answer.Status != 200), answer => Refusal.AssertIs(429, "rate_limited", answer));
            // So the sale keeps its next ticket for another user, while greedy goes on asking.
            var asking = true;
            var greedy = Task.Run(async () =>
            {
                while (Volatile.Read(ref asking)) Assert.Contains((await Stack.Shopper("greedy").AdmitAsync(sale.Id)).Status, (int[])[200, 429]);
            });
            await Eventually.TrueAsync("another user is admitted", TimeSpan.FromSeconds(20), async () => (await Stack.Shopper($"modest-{round}", 1).AdmitAsync(sale.Id)).Status == 200);
            Volatile.Write(ref asking, false);
            await greedy;
        }
        Assert.Equal(202, (await Stack.Shopper("greedy").BuyAsync(sale, ticket: first)).Status);
        var next = await Eventually.GetAsync("greedy is admitted again", TimeSpan.FromSeconds(20), () => Stack.Shopper("greedy").AdmitAsync(sale.Id), answer => answer.Status == 200);
        Assert.NotEqual(first, next.Member("ticket"));
        Assert.Equal(202, (await Stack.Shopper("greedy").BuyAsync(sale, ticket: next.Member("ticket"))).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_sale_that_is_sold_out_gives_no_ticket_until_a_unit_comes_back()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 1);
        var order = Manager.Expect(202, await Stack.Shopper("u").BuyAsync(sale, ticket: await Stack.Shopper("u").TicketAsync(sale)));
        for (var node = 0; node < 2; node++)
            await Eventually.TrueAsync("the node says that it is sold out", TimeSpan.FromSeconds(20), async () => (await Stack.Shopper("v", node).AdmitAsync(sale.Id)).Code == "sold_out");
        await Books.CheckAsync(Stack, sale);
        Manager.Expect(200, await Stack.Shopper("u").CancelAsync(order.OrderId));
        var admitted = await Eventually.GetAsync("a ticket is given again", TimeSpan.FromSeconds(20), () => Stack.Shopper("v").AdmitAsync(sale.Id), answer => answer.Status == 200);
        // A returned unit rests for half a second. A refused purchase keeps its ticket.
        await Eventually.GetAsync("the unit is sold again", TimeSpan.FromSeconds(10), () => Stack.Shopper("v").BuyAsync(sale, ticket: admitted.Member("ticket")), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_purchase_without_a_ticket_is_told_so()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        Refusal.AssertIs(403, "ticket_required", await Stack.Shopper("u").BuyAsync(sale));
        Assert.Empty((await Books.CheckAsync(Stack, sale)).Orders);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_ticket_that_is_none_does_not_buy(string name)
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var ticket = await BadTickets[name](this, sale);
        Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("u").BuyAsync(sale, ticket: ticket));
        Assert.Empty((await Books.CheckAsync(Stack, sale)).Orders);
        // A right ticket that the test forged in the same way buys.
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, ticket: AdmissionForge.Ticket(sale.Id, "u", await EpochAsync(sale), await RedisNowAsync() + 60_000))).Status);
    }

    [Fact]
    public async Task Two_headers_are_no_ticket()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var ticket = await Stack.Shopper("nobody").TicketAsync(sale);
        var body = $$"""{"sku":"{{sale.Sku}}","quantity":1}""";
        Refusal.AssertIs(403, "ticket_invalid", await RawHttp.PostAsync(Stack.Api.Port, sale.OrdersPath, $"Idempotency-Key: k\r\nPurchase-Ticket: {ticket}\r\nPurchase-Ticket: {ticket}\r\n", body));
        // One of the two headers alone is a ticket.
        Assert.Equal(202, (await RawHttp.PostAsync(Stack.Api.Port, sale.OrdersPath, $"Idempotency-Key: k\r\nPurchase-Ticket: {ticket}\r\n", body)).Status);
    }

    [Fact]
    public async Task Whatever_bit_of_a_ticket_is_turned_it_does_not_buy()
    {
        // The test has a user of its own, because it nearly empties that user's bucket of purchases.
        var sale = await Stack.OpenTicketedSaleAsync(stock: 1_000, perUserLimit: 1_000);
        var ticket = await Stack.Shopper("turner").TicketAsync(sale);
        await Crowd.EachAsync(Enumerable.Range(0, 480), 8, async bit =>
            Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("turner").BuyAsync(sale, ticket: AdmissionForge.WithBitFlipped(ticket, bit))));
        Assert.Equal(202, (await Stack.Shopper("turner").BuyAsync(sale, ticket: ticket)).Status);
        Assert.Single((await Books.CheckAsync(Stack, sale)).Orders);
    }

    [Fact]
    public async Task Fifty_purchases_at_once_with_one_ticket_buy_once()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 1_000, perUserLimit: 1_000);
        for (var round = 0; round < 5; round++)
        {
            var ticket = await Stack.Shopper("fifty").TicketAsync(sale);
            var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => Stack.Shopper("fifty", node: i % 2).BuyAsync(sale, ticket: ticket)));
            Assert.Single(answers, answer => answer.Status == 202);
            Assert.Equal(49, answers.Count(answer => answer.Code == "ticket_invalid"));
        }
        Assert.Equal(5, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_purchase_that_is_refused_does_not_burn_its_ticket()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 3, perUserLimit: 4);
        var ticket = await Stack.Shopper("u").TicketAsync(sale);
        Refusal.AssertIs(409, "purchase_limit_reached", await Stack.Shopper("u").BuyAsync(sale, "k", quantity: 5, ticket: ticket));
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("u").BuyAsync(sale, "k", quantity: 4, ticket: ticket));
        await Stack.Manager.PauseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("u").BuyAsync(sale, "k", ticket: ticket));
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, "k", quantity: 3, ticket: ticket)).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_retry_gets_its_first_answer_whatever_has_become_of_its_ticket()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var expiresAt = await RedisNowAsync() + 5_000;
        var ticket = AdmissionForge.Ticket(sale.Id, "u", await EpochAsync(sale), expiresAt);
        var first = Manager.Expect(202, await Stack.Shopper("u").BuyAsync(sale, "k", ticket: ticket));
        await AssertReplayedAsync(ticket, null, "forged", AdmissionForge.WithBitFlipped(ticket, 7), await Stack.Shopper("v").TicketAsync(sale));

        await Eventually.TrueAsync("the ticket has expired", TimeSpan.FromSeconds(20), async () => await RedisNowAsync() > expiresAt);
        await AssertReplayedAsync(ticket);
        await Stack.Manager.PauseAsync(sale.Id);
        await AssertReplayedAsync(ticket, null);
        await Stack.Manager.CloseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "closed");
        await AssertReplayedAsync(ticket, null);
        Assert.Single((await Books.CheckAsync(Stack, sale)).Orders);

        async Task AssertReplayedAsync(params string?[] tickets)
        {
            foreach (var brought in tickets)
            {
                for (var node = 0; node < 2; node++)
                {
                    var again = await Stack.Shopper("u", node).BuyAsync(sale, "k", ticket: brought);
                    Assert.Equal((202, true, first.Text), (again.Status, again.IsReplay, again.Text));
                }
            }
        }
    }

    [Fact]
    public async Task A_replay_burns_no_ticket()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5);
        Manager.Expect(202, await Stack.Shopper("u").BuyAsync(sale, "k", ticket: await Stack.Shopper("u").TicketAsync(sale)));
        var second = await Stack.Shopper("u").TicketAsync(sale);
        Assert.True((await Stack.Shopper("u").BuyAsync(sale, "k", ticket: second)).IsReplay);
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, "other", ticket: second)).Status);
        Assert.Equal(2, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_rebuild_ends_every_ticket_used_or_not()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5);
        var used = await Stack.Shopper("u").TicketAsync(sale);
        var first = await Stack.Shopper("u").BuyAsync(sale, "k", ticket: used);
        var unused = await Stack.Shopper("u").TicketAsync(sale);
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.Manager.RebuildAsync(sale.Id);
        await Stack.Manager.ResumeAsync(sale.Id);
        // A node that has not heard of the rebuild yet refuses the tickets too.
        foreach (var ticket in (string[])[used, unused])
        {
            for (var node = 0; node < 2; node++) Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("u", node).BuyAsync(sale, ticket: ticket));
        }
        var again = await Stack.Shopper("u").BuyAsync(sale, "k", ticket: used);
        Assert.Equal((true, first.Text), (again.IsReplay, again.Text));
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, ticket: await Stack.Shopper("u").TicketAsync(sale))).Status);
        Assert.Equal(2, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_sale_that_requires_no_tickets_sells_without_and_gives_them_all_the_same()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var ticket = await Stack.Shopper("a").TicketAsync(sale);
        Assert.Equal(202, (await Stack.Shopper("a").BuyAsync(sale, ticket: ticket)).Status);
        Assert.Equal(202, (await Stack.Shopper("b").BuyAsync(sale)).Status);
        Assert.Equal(202, (await Stack.Shopper("c").BuyAsync(sale, ticket: "no ticket at all")).Status);
        Assert.Equal(3, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task Refusals_are_given_in_the_documented_order()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 3, perUserLimit: 2);
        var shopper = Stack.Shopper("u");
        Refusal.AssertIs(404, "item_not_found", await shopper.BuyAsync(sale, sku: "phone-9"));
        Manager.Expect(202, await shopper.BuyAsync(sale, "k", quantity: 2, ticket: await shopper.TicketAsync(sale)));
        Refusal.AssertIs(422, "idempotency_key_reused", await shopper.BuyAsync(sale, "k"));
        // The limit and the stock would refuse the purchase as well, but the ticket is checked first.
        Refusal.AssertIs(403, "ticket_required", await shopper.BuyAsync(sale, "l", quantity: 2));
        Refusal.AssertIs(403, "ticket_invalid", await shopper.BuyAsync(sale, "l", quantity: 2, ticket: "x"));
        Refusal.AssertIs(403, "ticket_required", await Stack.Shopper("v").BuyAsync(sale, quantity: 2));
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale, "l", quantity: 2, ticket: await shopper.TicketAsync(sale)));
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("v").BuyAsync(sale, quantity: 2, ticket: await Stack.Shopper("v").TicketAsync(sale)));
        await Stack.Manager.PauseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("v").BuyAsync(sale));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_redis_that_was_restarted_knows_which_tickets_are_burnt()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5);
        var used = await Stack.Shopper("u").TicketAsync(sale);
        await Stack.Shopper("u").BuyAsync(sale, "k", ticket: used);
        var unused = await Stack.Shopper("u").TicketAsync(sale);
        await Books.CheckAsync(Stack, sale);
        await Stack.Redis.RestartAsync();
        await JudgesTicketsAgainAsync(sale);
        for (var node = 0; node < 2; node++) Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("u", node).BuyAsync(sale, ticket: used));
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, ticket: unused)).Status);
        Assert.Equal(2, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_redis_that_has_forgotten_a_burnt_ticket_does_not_take_it_again()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 5);
        var ticket = await Stack.Shopper("u").TicketAsync(sale);
        var length = Stack.Redis.FileLength();
        var first = await Stack.Shopper("u").BuyAsync(sale, "k", ticket: ticket);
        await Books.CheckAsync(Stack, sale);
        await Stack.Redis.KillAsync();
        Stack.Redis.CutFile(length);
        await Stack.Redis.StartAsync();
        await JudgesTicketsAgainAsync(sale);
        for (var node = 0; node < 2; node++)
        {
            Refusal.AssertIs(403, "ticket_invalid", await Stack.Shopper("u", node).BuyAsync(sale, ticket: ticket));
            Assert.Equal(first.Text, (await Stack.Shopper("u", node).BuyAsync(sale, "k", ticket: ticket)).Text);
        }
        Assert.Single((await Books.CheckAsync(Stack, sale)).Orders);
    }

    // The probe cannot buy, since it has no ticket. The answer ticket_required shows that the worker has verified or
    // rebuilt the sale.
    private async Task JudgesTicketsAgainAsync(Sale sale)
    {
        for (var node = 0; node < 2; node++)
        {
            var probe = Stack.Shopper($"probe-{node}", node);
            await Eventually.GetAsync($"node {node} sells {sale.Id}", TimeSpan.FromSeconds(30),
                () => probe.PurchaseAsync(sale.Id, $$"""{"sku":"{{sale.Sku}}","quantity":1}""", "probe"), answer => answer.Code == "ticket_required");
        }
    }
}
