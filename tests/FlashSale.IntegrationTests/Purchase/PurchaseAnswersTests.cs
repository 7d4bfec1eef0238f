using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// Checks every answer of the contract's purchase table, header by header, and the order of refusals.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class PurchaseAnswersTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Body = """{"sku":"phone-1","quantity":1}""";

    [Fact]
    public async Task An_acceptance_tells_the_order_and_where_to_follow_it()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 10, PerUserLimit: 3, Price: 129_950)]);
        var before = TimeProvider.System.GetUtcNow();
        var answer = await Stack.Shopper("buyer").BuyAsync(sale, quantity: 3);
        Assert.Equal(202, answer.Status);
        Assert.StartsWith("application/json", answer.Header("content-type"));
        Assert.Null(answer.Header("idempotency-replayed"));
        Assert.Equal($"/api/v1/orders/{answer.OrderId}", answer.Header("location"));

        var order = answer.Json;
        Assert.Equal(["acceptedAt", "amount", "eventsUrl", "orderId", "quantity", "saleId", "sku", "status", "statusUrl"],
            order.EnumerateObject().Select(member => member.Name).Order(StringComparer.Ordinal));
        Assert.Equal(sale.Id, answer.Member("saleId"));
        Assert.Equal("phone-1", answer.Member("sku"));
        Assert.Equal(3, order.GetProperty("quantity").GetInt32());
        Assert.Equal(389_850, order.GetProperty("amount").GetProperty("amount").GetInt64());
        Assert.Equal("CNY", order.GetProperty("amount").GetProperty("currency").GetString());
        Assert.Equal("accepted", answer.Member("status"));
        Assert.Equal(answer.Header("location"), answer.Member("statusUrl"));
        Assert.Equal($"{answer.Header("location")}/events", answer.Member("eventsUrl"));
        Assert.EndsWith("Z", answer.Member("acceptedAt"));
        var acceptedAt = DateTimeOffset.Parse(answer.Member("acceptedAt")!, CultureInfo.InvariantCulture);
        Assert.InRange(acceptedAt, before.AddMilliseconds(-1), TimeProvider.System.GetUtcNow().AddMilliseconds(1));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_same_key_gets_the_same_bytes_and_is_marked_as_a_replay_whether_quoted_or_bare()
    {
        var sale = await Stack.OpenSaleAsync(10, perUserLimit: 2);
        var shopper = Stack.Shopper("buyer");
        var first = await shopper.BuyAsync(sale, "my-key");
        foreach (var key in (string[])["my-key", "\"my-key\"", " my-key "])
        {
            var again = await shopper.PurchaseAsync(sale.Id, """ { "quantity" : 1, "sku" : "phone-1" } """, key);
            Assert.Equal(202, again.Status);
            Assert.Equal(first.Text, again.Text);
            Assert.Equal("true", again.Header("idempotency-replayed"));
            Assert.Equal(first.Header("location"), again.Header("location"));
        }
        // Another shopper may use the same key without any effect on this one.
        var other = await Stack.Shopper("other").BuyAsync(sale, "my-key");
        Assert.Equal(202, other.Status);
        Assert.NotEqual(first.OrderId, other.OrderId);
        await Books.CheckAsync(Stack, sale);
        var late = await shopper.BuyAsync(sale, "my-key");
        Assert.Equal((first.Text, true), (late.Text, late.IsReplay));
    }

    [Fact]
    public async Task A_key_with_another_body_is_refused_and_the_first_order_stays()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 10, 5), new ItemDraft("phone-2", 10, 5)]);
        var shopper = Stack.Shopper("buyer");
        await shopper.BuyAsync(sale, "k");
        Refusal.AssertIs(422, "idempotency_key_reused", await shopper.BuyAsync(sale, "k", quantity: 2));
        Refusal.AssertIs(422, "idempotency_key_reused", await shopper.BuyAsync(sale, "k", sku: "phone-2"));
        Assert.True((await shopper.BuyAsync(sale, "k")).IsReplay);
        Assert.Single((await Books.CheckAsync(Stack, sale)).Orders);
    }

    [Fact]
    public async Task A_refused_key_may_be_tried_again_and_then_buys()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.Manager.PauseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("buyer").BuyAsync(sale, "k"));
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        var bought = await Stack.Shopper("buyer").BuyAsync(sale, "k");
        Assert.Equal((202, false), (bought.Status, bought.IsReplay));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Whoever_wants_more_than_is_left_is_told_sold_out_and_the_rest_stays_for_others()
    {
        var sale = await Stack.OpenSaleAsync(stock: 5, perUserLimit: 10);
        Assert.Equal(202, (await Stack.Shopper("a").BuyAsync(sale, quantity: 3)).Status);
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("b").BuyAsync(sale, quantity: 3));
        Assert.Equal(202, (await Stack.Shopper("c").BuyAsync(sale, quantity: 2)).Status);
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("d").BuyAsync(sale));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_user_buys_up_to_the_items_limit_and_no_further()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100, perUserLimit: 3);
        var shopper = Stack.Shopper("buyer");
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale, quantity: 4));
        Assert.Equal(202, (await shopper.BuyAsync(sale, quantity: 2)).Status);
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale, quantity: 2));
        Assert.Equal(202, (await shopper.BuyAsync(sale)).Status);
        await Books.CheckAsync(Stack, sale);
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale));
    }

    [Fact]
    public async Task A_sale_that_is_unknown_or_a_draft_is_not_found_nor_is_an_item_that_it_does_not_have()
    {
        var draft = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)]);
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var shopper = Stack.Shopper("buyer");
        Refusal.AssertIs(404, "sale_not_found", await shopper.PurchaseAsync("no-such-sale", Body, "k"));
        Refusal.AssertIs(404, "sale_not_found", await shopper.PurchaseAsync(draft, Body, "k"));
        Refusal.AssertIs(404, "item_not_found", await shopper.PurchaseAsync(sale.Id, """{"sku":"phone-9","quantity":1}""", "k"));
    }

    [Fact]
    public async Task Refusals_are_given_in_the_documented_order()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 2, PerUserLimit: 2), new ItemDraft("phone-2", 10)]);
        var shopper = Stack.Shopper("buyer");
        var forged = Stack.Shopper("buyer", token: "forged");
        Refusal.AssertIs(401, "unauthenticated", await forged.PurchaseAsync("no-such-sale", "{", null));
        Refusal.AssertIs(400, "invalid_request", await shopper.PurchaseAsync("no-such-sale", """{"sku":"phone-1","quantity":0}""", "k"));
        Refusal.AssertIs(400, "idempotency_key_missing", await shopper.PurchaseAsync("no-such-sale", """{"sku":"no-such-item","quantity":1}""", null));
        Refusal.AssertIs(404, "sale_not_found", await shopper.PurchaseAsync("no-such-sale", """{"sku":"no-such-item","quantity":1}""", "k"));

        var first = await shopper.BuyAsync(sale, "k", quantity: 2);
        Assert.Equal(202, first.Status);
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale, "other"));
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("stranger").BuyAsync(sale));

        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        Refusal.AssertIs(404, "item_not_found", await shopper.PurchaseAsync(sale.Id, """{"sku":"no-such-item","quantity":2}""", "k"));
        Assert.True((await shopper.BuyAsync(sale, "k", quantity: 2)).IsReplay);
        Refusal.AssertIs(422, "idempotency_key_reused", await shopper.BuyAsync(sale, "k", quantity: 1));
        Refusal.AssertIs(409, "sale_paused", await shopper.BuyAsync(sale, "other"));
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("stranger").BuyAsync(sale));
        await Stack.Manager.CloseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "closed");
        Refusal.AssertIs(422, "idempotency_key_reused", await shopper.BuyAsync(sale, "k", quantity: 1));
        Refusal.AssertIs(409, "sale_closed", await shopper.BuyAsync(sale, "other"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Keys_and_user_ids_of_full_length_and_every_allowed_character_buy()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10, perUserLimit: 10);
        var visible = new string([.. Enumerable.Range(0x21, 94).Select(c => (char)c).Where(c => c is not ('"' or '\\' or ','))]);
        var shopper = Stack.Shopper("AZaz09._:@-".PadRight(64, 'x'));
        foreach (var key in (string[])["k", visible, new string('k', 255)])
        {
            Assert.Equal(202, (await shopper.BuyAsync(sale, key)).Status);
            Assert.True((await shopper.BuyAsync(sale, key)).IsReplay);
        }
        Assert.Equal(3, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Theory]
    [InlineData("GET", "/nothing/here", 404, "not_found")]
    [InlineData("DELETE", "/api/v1/sales", 405, "method_not_allowed")]
    [InlineData("PUT", "/api/v1/sales/x/orders", 405, "method_not_allowed")]
    public async Task Other_addresses_and_methods_are_refused_as_problems(string method, string path, int status, string code) =>
        Refusal.AssertIs(status, code, await Stack.Shopper("anyone").SendAsync(new HttpMethod(method), path));
}
