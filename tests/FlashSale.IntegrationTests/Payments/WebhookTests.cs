using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Payments;

/// <summary>Only the provider's own notices count, each once, in any order.</summary>
public sealed class WebhookTests(WithProvider fixture, ITestOutputHelper output) : PaymentTest(fixture, output), IClassFixture<WithProvider>
{
    private const string OtherSecret = "whsec_YW5vdGhlci1zZWNyZXQtb2YtdGhlLXRlc3RzLXdlYmhvb2s=";

    [Fact]
    public async Task What_the_provider_has_not_signed_just_now_is_refused_and_leaves_nothing()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var before = await TracesAsync(orderId);
        var body = Provider.Notice("payment.succeeded", orderId, "pay_forged", Price);
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        var good = Provider.Sign("msg_forged", now, body);
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, secret: OtherSecret));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, signature: ""));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, "msg_forged", signature: good[..^4]));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, "msg_other", signature: good));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body.Replace("199900", "199901"), "msg_forged", signature: good));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, signedAgo: TimeSpan.FromSeconds(330)));
        Refusal.AssertIs(401, "invalid_signature", await Stack.Provider.NotifyAsync(body, signedAgo: TimeSpan.FromSeconds(-330)));
        Assert.Equal(before, await TracesAsync(orderId));
    }

    [Fact]
    public async Task A_webhook_that_says_nothing_readable_is_refused_and_one_of_another_type_is_recorded()
    {
        Refusal.AssertIs(400, "invalid_request", await Stack.Provider.NotifyAsync("not JSON"));
        Refusal.AssertIs(400, "invalid_request", await Stack.Provider.NotifyAsync("""{"type":"payment.succeeded","data":{}}"""));
        Refusal.AssertIs(413, "body_too_large", await Stack.Provider.NotifyAsync($$"""{"type":"{{new string('x', 64 * 1024)}}"}"""));
        Assert.Equal(200, (await Stack.Provider.NotifyAsync("""{"type":"payout.created","data":{"payout":1}}""", "msg_payout")).Status);
        Assert.Equal("ignored", await ScalarAsync<string>("select outcome from webhook_receipt where webhook_id = 'msg_payout'"));
    }

    [Theory]
    [InlineData(Price - 1, "CNY")]
    [InlineData(Price + 1, "CNY")]
    [InlineData(0, "CNY")]
    [InlineData(Price, "USD")]
    public async Task Another_amount_or_currency_pays_nothing_and_leaves_nothing(long amount, string currency)
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var before = await TracesAsync(orderId);
        // A refund of a smaller amount is a partial refund, so it is no mismatch.
        foreach (var type in (string[])["payment.succeeded", "payment.failed", .. amount is > 0 and < Price && currency == "CNY" ? Array.Empty<string>() : ["payment.refunded"]])
            Refusal.AssertIs(422, "amount_mismatch", await NotifyAsync(type, orderId, "pay_mismatch", amount, currency));
        Assert.Equal(before, await TracesAsync(orderId));
        Assert.Null(await PaymentStateAsync("pay_mismatch"));
    }

    [Fact]
    public async Task An_unknown_order_is_not_found_and_leaves_nothing()
    {
        Refusal.AssertIs(404, "order_not_found", await NotifyAsync("payment.succeeded", Guid.NewGuid(), "pay_unknown", id: "msg_unknown"));
        Assert.Null(await PaymentStateAsync("pay_unknown"));
        Assert.Equal(0, await ScalarAsync<long>("select count(*) from webhook_receipt where webhook_id = 'msg_unknown'"));
    }

    [Fact]
    public async Task An_unknown_order_is_kept_for_operators_an_hour_after_it_was_paid()
    {
        var orderId = Guid.NewGuid();
        Refusal.AssertIs(404, "order_not_found", await Stack.Provider.NotifyAsync(Provider.Notice("payment.succeeded", orderId, "pay_lost", Price, ago: TimeSpan.FromMinutes(55)), "msg_lost"));
        var body = Provider.Notice("payment.succeeded", orderId, "pay_lost", Price, ago: TimeSpan.FromMinutes(61));
        for (var round = 0; round < 2; round++) Assert.Equal(200, (await Stack.Provider.NotifyAsync(body, "msg_lost")).Status);
        Assert.Equal("unknown_order", await ScalarAsync<string>("select outcome from webhook_receipt where webhook_id = 'msg_lost'"));
        Assert.Null(await PaymentStateAsync("pay_lost"));
        var listed = (await Stack.Manager.GetAsync("/api/v1/payments?state=unmatched")).Json.GetProperty("payments").EnumerateArray()
            .Single(payment => payment.GetProperty("orderId").GetGuid() == orderId);
        Assert.Equal(("pay_lost", "unknown_order"), (listed.GetProperty("paymentId").GetString(), listed.GetProperty("reason").GetString()));
    }

    [Fact]
    public async Task A_refund_in_part_is_kept_for_operators_and_the_order_stays_paid()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, $"pay_{orderId:N}")).Status);
        Assert.Equal(200, (await NotifyAsync("payment.refunded", orderId, $"pay_{orderId:N}", Price / 2, id: "msg_part")).Status);
        Assert.Equal("partial_refund", await ScalarAsync<string>("select outcome from webhook_receipt where webhook_id = 'msg_part'"));
        Assert.Equal("paid", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        Assert.Null(await RefundStateAsync($"pay_{orderId:N}"));
        await Books.CheckAsync(Stack, sale);
    }

    [Theory]
    [InlineData("text/plain")]
    [InlineData("application/vnd.provider+json")]
    public async Task A_signed_notice_counts_whatever_its_content_type_and_with_a_byte_order_mark(string contentType)
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var body = "\uFEFF" + Provider.Notice("payment.succeeded", orderId, $"pay_{orderId:N}", Price).Replace($"{Price}", $"{Price}.0");
        Assert.Equal(200, (await Stack.Provider.NotifyAsync(body, contentType: contentType)).Status);
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_payment_pays_no_other_order()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (first, second) = (await OrderAsync(sale, "first"), await OrderAsync(sale, "second"));
        var paymentId = $"pay_{first:N}";
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", first, paymentId)).Status);
        var before = await TracesAsync(second);
        foreach (var type in (string[])["payment.succeeded", "payment.failed", "payment.refunded"])
            Refusal.AssertIs(422, "payment_mismatch", await NotifyAsync(type, second, paymentId));
        Assert.Equal(before, await TracesAsync(second));
        await StatusAsync("first", first, "paid");
    }

    [Fact]
    public async Task A_payment_told_of_two_orders_at_once_pays_one()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        for (var round = 0; round < 10; round++)
        {
            var orders = new[] { await OrderAsync(sale, $"left-{round}"), await OrderAsync(sale, $"right-{round}") };
            var paymentId = $"pay_{orders[0]:N}";
            var answers = await Task.WhenAll(orders.Select(orderId => NotifyAsync("payment.succeeded", orderId, paymentId)));
            Assert.Equal([200, 422], answers.Select(answer => answer.Status).Order());
            Assert.Equal(1, await ScalarAsync<long>("select count(*) from orders where order_id = any (@orders) and status = 'paid'", new { orders }));
        }
    }

    [Fact]
    public async Task A_repeat_changes_nothing_also_many_at_once_on_every_node()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var body = Provider.Notice("payment.succeeded", orderId, $"pay_{orderId:N}", Price);
        var answers = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Stack.Provider.NotifyAsync(body, "msg_repeated")));
        Assert.All(answers, answer => Assert.Equal(200, answer.Status));
        var before = await TracesAsync(orderId);
        Assert.Equal(200, (await Stack.Provider.NotifyAsync(body, "msg_repeated")).Status);
        // The repeat may say something else, since only the id counts.
        Assert.Equal(200, (await NotifyAsync("payment.refunded", orderId, $"pay_{orderId:N}", id: "msg_repeated")).Status);
        Assert.Equal(before, await TracesAsync(orderId));
        await StatusAsync("buyer", orderId, "paid");
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from order_event where type = 'paid' and @orderId = any (order_ids)", new { orderId }));
    }

    [Fact]
    public async Task The_same_success_under_another_id_pays_nothing_twice()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var paymentId = $"pay_{orderId:N}";
        foreach (var _ in Enumerable.Range(0, 3)) Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
        Assert.Equal("succeeded", await PaymentStateAsync(paymentId));
        Assert.Null(await RefundStateAsync(paymentId));
    }

    [Fact]
    public async Task A_failure_told_after_the_success_is_old_news()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var paymentId = $"pay_{orderId:N}";
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
        Assert.Equal(200, (await NotifyAsync("payment.failed", orderId, paymentId)).Status);
        Assert.Equal("succeeded", await PaymentStateAsync(paymentId));
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_success_told_after_the_failure_pays()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var paymentId = $"pay_{orderId:N}";
        Assert.Equal(200, (await NotifyAsync("payment.failed", orderId, paymentId)).Status);
        Assert.Equal("failed", await PaymentStateAsync(paymentId));
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_refund_told_before_its_success_leaves_the_order_unpaid()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var paymentId = $"pay_{orderId:N}";
        Assert.Equal(200, (await NotifyAsync("payment.refunded", orderId, paymentId)).Status);
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
        Assert.Equal(200, (await NotifyAsync("payment.failed", orderId, paymentId)).Status);
        Assert.Equal("surplus", await PaymentStateAsync(paymentId));
        Assert.Equal("confirmed", await RefundStateAsync(paymentId));
        Assert.Equal("pending_payment", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        // Another payment pays the order.
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId + "_2")).Status);
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_refund_that_nobody_asked_for_gives_the_order_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var paymentId = $"pay_{orderId:N}";
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
        Assert.Equal(200, (await NotifyAsync("payment.refunded", orderId, paymentId)).Status);
        await StatusAsync("buyer", orderId, "refunded");
        Assert.Equal("confirmed", await RefundStateAsync(paymentId));
        Assert.Equal(0, await ScalarAsync<long>("select sold from sale_item where sale_id = @Id", new { sale.Id }));
    }

    [Fact]
    public async Task During_a_rotation_notices_of_either_secret_count()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        await using var rotating = new HostProcess("Api", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal)
        {
            ["Webhook__Secret"] = OtherSecret, ["Webhook__PreviousSecret"] = Provider.WebhookSecret,
        });
        await rotating.StartAsync();
        using var provider = new Provider(() => Stack.Sandbox.Url, () => rotating.Url);
        Assert.Equal(200, (await provider.NotifyAsync(Provider.Notice("payment.failed", orderId, "pay_rotating", Price))).Status);
        Assert.Equal(200, (await provider.NotifyAsync(Provider.Notice("payment.succeeded", orderId, "pay_rotating", Price), secret: OtherSecret)).Status);
        await StatusAsync("buyer", orderId, "paid");
    }
}
