using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Payments;

/// <summary>Shoppers pay orders at the provider, and the provider's notice pays them here.</summary>
public sealed class PayingTests(WithProvider fixture, ITestOutputHelper output) : PaymentTest(fixture, output), IClassFixture<WithProvider>
{
    [Fact]
    public async Task An_order_is_paid_through_the_provider_and_its_stream_tells_so()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        using var events = await EventClient.OpenAsync(Stack.Apis[1], "buyer", orderId);
        Assert.Equal("pending_payment", (await events.NextAsync())!.Status);
        var started = Manager.Expect(200, await StartAsync(orderId));
        var order = await Stack.Shopper("buyer").OrderAsync(orderId);
        Assert.Equal(order.Member("payBy"), started.Member("payBy"));
        await Stack.Provider.PayAsync(started.Member("paymentUrl")!);
        Assert.Equal("paid", (await events.NextAsync())!.Status);
        Assert.Null(await events.NextAsync());
        Assert.NotEqual("", (await StatusAsync("buyer", orderId, "paid")).Member("paidAt"));
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from order_event where type = 'paid' and @orderId = any (order_ids)", new { orderId }));
    }

    [Fact]
    public async Task An_order_has_one_payment_however_often_it_is_asked_for()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var urls = await Task.WhenAll(Enumerable.Range(0, 8).Select(async i => Manager.Expect(200, await StartAsync(orderId, node: i % 2)).Member("paymentUrl")));
        Assert.Single(urls.Distinct());
        Assert.Equal(urls[0], await PaymentUrlAsync(orderId));
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from payment where order_id = @orderId", new { orderId }));
    }

    [Fact]
    public async Task A_stored_payment_is_shown_with_the_provider_away_and_a_new_one_is_not_started_until_it_is_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (first, second) = (await OrderAsync(sale, "first"), await OrderAsync(sale, "second"));
        var url = await PaymentUrlAsync(first, "first");
        await Stack.Sandbox.KillAsync();
        Refusal.AssertIs(503, "temporarily_unavailable", await StartAsync(second, "second"));
        Assert.Equal(url, await PaymentUrlAsync(first, "first"));
        await Stack.Sandbox.StartAsync();
        await Eventually.GetAsync("payments start again", TimeSpan.FromSeconds(20), () => StartAsync(second, "second"), answer => answer.Status == 200);
        await Stack.Provider.PayAsync(await PaymentUrlAsync(second, "second"));
        await StatusAsync("second", second, "paid");
    }

    [Fact]
    public async Task A_provider_that_answers_nothing_is_not_waited_for_long()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        Stack.Sandbox.Freeze();
        try
        {
            var answer = Refusal.AssertIs(503, "temporarily_unavailable", await StartAsync(orderId));
            Assert.True(answer.Took < TimeSpan.FromSeconds(6), $"It took {answer.Took}.");
        }
        finally
        {
            Stack.Sandbox.Thaw();
        }
        await Eventually.GetAsync("payments start again", TimeSpan.FromSeconds(20), () => StartAsync(orderId), answer => answer.Status == 200);
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from payment where order_id = @orderId", new { orderId }));
    }

    [Fact]
    public async Task What_does_not_wait_for_payment_cannot_be_paid()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var cancelled = await OrderAsync(sale, "cancels");
        await CancelAsync(sale, cancelled, "cancels");
        Refusal.AssertIs(409, "order_not_payable", await StartAsync(cancelled, "cancels"));

        var paid = await OrderAsync(sale, "pays");
        await Stack.Provider.PayAsync(await PaymentUrlAsync(paid, "pays"));
        await StatusAsync("pays", paid, "paid");
        Refusal.AssertIs(409, "order_not_payable", await StartAsync(paid, "pays"));

        var late = await OrderAsync(sale, "late");
        await PaymentUrlAsync(late, "late");
        await ScalarAsync<object?>("update orders set pay_by = now() where order_id = @late", new { late });
        Refusal.AssertIs(409, "order_not_payable", await StartAsync(late, "late"));
    }

    [Fact]
    public async Task An_order_in_flight_is_payable_in_a_moment_and_unknown_to_the_webhook()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.FreezeWorkersAsync();
        Guid orderId;
        try
        {
            orderId = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
            var refused = Refusal.AssertIs(409, "order_not_payable", await StartAsync(orderId));
            Assert.Equal("1", refused.Header("retry-after"));
            Refusal.AssertIs(404, "order_not_found", await NotifyAsync("payment.succeeded", orderId, "pay_early", id: "msg_early"));
            Assert.Equal(0, await ScalarAsync<long>("select count(*) from webhook_receipt where webhook_id = 'msg_early'"));
        }
        finally
        {
            foreach (var worker in Stack.Workers) worker.Thaw();
        }
        await StatusAsync("buyer", orderId, "pending_payment");
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, "pay_early", id: "msg_early")).Status);
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task Nobody_pays_without_a_token_or_for_another()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        Refusal.AssertIs(404, "order_not_found", await StartAsync(orderId, "another"));
        Refusal.AssertIs(404, "order_not_found", await StartAsync(Guid.NewGuid()));
        Refusal.AssertIs(401, "unauthenticated", await Stack.Shopper("buyer", token: "").SendAsync(HttpMethod.Post, $"/api/v1/orders/{orderId}/payment"));
    }

    [Fact]
    public async Task A_payment_that_fails_leaves_the_order_open_and_can_be_tried_again()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var url = await PaymentUrlAsync(orderId);
        await Stack.Provider.BehaveAsync(outcome: "fail");
        await Stack.Provider.PayAsync(url);
        await Eventually.GetAsync("the failure is recorded", TimeSpan.FromSeconds(20), () => ScalarAsync<string?>("select state from payment where order_id = @orderId", new { orderId }), state => state == "failed");
        Assert.Equal("pending_payment", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        await Stack.Provider.BehaveAsync();
        Assert.Equal(url, await PaymentUrlAsync(orderId));
        await Stack.Provider.PayAsync(url);
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_payment_that_the_shopper_makes_at_once_is_settled_whichever_answer_comes_first()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Stack.Provider.BehaveAsync(autoPay: true, duplicates: 2, shuffle: true);
        var orders = await Task.WhenAll(Enumerable.Range(0, 10).Select(i => OrderAsync(sale, $"user-{i}")));
        await Task.WhenAll(orders.Select((orderId, i) => StartAsync(orderId, $"user-{i}", node: i % 2)));
        await Task.WhenAll(orders.Select((orderId, i) => StatusAsync($"user-{i}", orderId, "paid")));
        Assert.Equal(10, await ScalarAsync<long>("select count(*) from payment where order_id = any (@orders) and state = 'succeeded'", new { orders }));
        Assert.Equal(0, await ScalarAsync<long>("select count(*) from refund where order_id = any (@orders)", new { orders }));
        Assert.Equal(10, await ScalarAsync<long>("select count(*) from order_event where type = 'paid' and sale_id = @Id", new { sale.Id }));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task An_order_over_nothing_is_paid_as_it_is_stored()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("gift", 5, Price: 0), new ItemDraft("phone-1", 5)]);
        var orderId = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        Assert.NotEqual("", (await StatusAsync("buyer", orderId, "paid")).Member("paidAt"));
        Refusal.AssertIs(409, "order_not_payable", await StartAsync(orderId));
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from order_event where type = 'paid' and @orderId = any (order_ids)", new { orderId }));
        await Stack.Shopper("other").BuyAsync(sale, sku: "phone-1");
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(200, (await Stack.Manager.RefundAsync(orderId)).Status);
        Assert.Equal(5, (await Books.CheckAsync(Stack, sale)).Remaining["gift"]);
    }

    [Fact]
    public async Task Who_lets_orders_expire_again_and_again_reaches_the_purchase_limit_also_after_a_rebuild()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        // Three expired orders are free. The unit of the fourth stays on the purchase limit of one.
        for (var round = 0; round < 4; round++)
        {
            var bought = await Eventually.GetAsync("the unit is for sale", TimeSpan.FromSeconds(10), () => Stack.Shopper("hoarder").BuyAsync(sale), answer => answer.Status == 202);
            await StatusAsync("hoarder", bought.OrderId, "pending_payment");
            await DueAsync(bought.OrderId);
            await StatusAsync("hoarder", bought.OrderId, "expired");
        }
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(1, view.Remaining[sale.Sku]);
        Refusal.AssertIs(409, "purchase_limit_reached", await Stack.Shopper("hoarder").BuyAsync(sale));
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.Manager.RebuildAsync(sale.Id);
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        Refusal.AssertIs(409, "purchase_limit_reached", await Stack.Shopper("hoarder").BuyAsync(sale));
        await Eventually.GetAsync("the unit is for sale", TimeSpan.FromSeconds(10), () => Stack.Shopper("another").BuyAsync(sale), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task An_operator_cancels_an_unpaid_order_and_sees_what_happened_to_it()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (unpaid, paid) = (await OrderAsync(sale), await OrderAsync(sale, "pays"));
        var cancel = $"/api/v1/orders/{unpaid}/cancel";
        Refusal.AssertIs(400, "invalid_request", await Stack.Manager.PostAsync(cancel));
        var url = await PaymentUrlAsync(unpaid);
        Assert.Contains(PaymentIdOf(url), (await Stack.Manager.GetAsync("/api/v1/payments?state=created&limit=500")).Text, StringComparison.Ordinal);
        for (var round = 0; round < 2; round++)
            Assert.Equal("cancelled", Manager.Expect(200, await Stack.Manager.PostAsync(cancel, new { reason = "A bot" })).Member("status"));
        var order = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/orders/{unpaid}")).Json;
        Assert.Equal("A bot", order.GetProperty("reason").GetString());
        Assert.Equal(["accepted", "placed", "payment_created", "order.cancel", "cancelled", "units_returned"],
            order.GetProperty("history").EnumerateArray().Select(happened => happened.GetProperty("what").GetString()));
        await Stack.Provider.PayAsync(await PaymentUrlAsync(paid, "pays"));
        await StatusAsync("pays", paid, "paid");
        Refusal.AssertIs(409, "order_not_cancellable", await Stack.Manager.PostAsync($"/api/v1/orders/{paid}/cancel", new { reason = "A bot" }));
        Refusal.AssertIs(404, "order_not_found", await Stack.Manager.GetAsync($"/api/v1/orders/{Guid.NewGuid()}"));
        Refusal.AssertIs(400, "invalid_request", await Stack.Manager.GetAsync("/api/v1/payments"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_refund_without_its_units_takes_them_out_of_the_stock_and_leaves_them_on_the_purchase_limit()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        await Stack.Provider.PayAsync(await PaymentUrlAsync(orderId));
        await StatusAsync("buyer", orderId, "paid");
        Manager.Expect(200, await Stack.Manager.PostAsync($"/api/v1/orders/{orderId}/refund", new { reason = "Goodwill", returnUnits = false }));
        for (var round = 0; round < 2; round++)
        {
            var view = await Books.CheckAsync(Stack, sale);
            Assert.Equal((9, 0, 9), (view.Items[0].Stock, view.Items[0].Sold, view.Remaining[sale.Sku]));
            Refusal.AssertIs(409, "purchase_limit_reached", await Stack.Shopper("buyer").BuyAsync(sale));
            await Stack.Manager.PauseAsync(sale.Id);
            await Stack.Manager.RebuildAsync(sale.Id);
            await Stack.Manager.ResumeAsync(sale.Id);
            await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        }
        Assert.Equal("refunded", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
    }

    [Fact]
    public async Task Both_endpoints_are_described()
    {
        var document = (await Stack.Shopper("anyone").GetAsync("/openapi/v1.json")).Json.GetProperty("paths");
        var start = document.GetProperty("/api/v1/orders/{orderId}/payment").GetProperty("post");
        Assert.Equal(["200", "401", "404", "409", "429", "503"], start.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        Assert.True(start.TryGetProperty("security", out _));
        var webhook = document.GetProperty("/api/v1/payments/webhook").GetProperty("post");
        Assert.Equal(["200", "400", "401", "404", "413", "422", "429", "503"], webhook.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        Assert.False(webhook.TryGetProperty("security", out _));
        Assert.Equal(3, webhook.GetProperty("parameters").GetArrayLength());
    }
}
