using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Payments;

/// <summary>Money that pays nothing goes back, even if the provider takes long, and revives no order.</summary>
public sealed class RefundTests(WithProvider fixture, ITestOutputHelper output) : PaymentTest(fixture, output), IClassFixture<WithProvider>
{
    [Fact]
    public async Task Of_two_payments_the_second_is_refunded()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var (first, second) = (await Stack.Provider.CreateAsync(orderId, Price), await Stack.Provider.CreateAsync(orderId, Price));
        await Stack.Provider.PayAsync(first);
        await StatusAsync("buyer", orderId, "paid");
        await Stack.Provider.PayAsync(second);
        await RefundAsync(second, "confirmed");
        Assert.Equal("succeeded", await PaymentStateAsync(first));
        Assert.Equal("surplus", await PaymentStateAsync(second));
        Assert.Null(await RefundStateAsync(first));
        Assert.Equal("paid", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        Assert.Equal("paid", await Stack.Provider.StatusAsync(first));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_payment_that_comes_after_the_order_was_cancelled_is_refunded_and_the_order_stays_cancelled()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var url = await PaymentUrlAsync(orderId);
        await CancelAsync(sale, orderId);
        await Stack.Provider.PayAsync(url);
        var paymentId = url[(url.LastIndexOf('/') + 1)..];
        await RefundAsync(paymentId, "confirmed");
        Assert.Equal("surplus", await PaymentStateAsync(paymentId));
        Assert.Equal("cancelled", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        Assert.Equal(0, await ScalarAsync<long>("select count(*) from order_event where type = 'paid' and @orderId = any (order_ids)", new { orderId }));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Many_payments_of_one_order_at_once_pay_it_once_and_the_rest_go_back()
    {
        var orderId = await OrderAsync(await Stack.OpenSaleAsync(stock: 10));
        var payments = await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => Stack.Provider.CreateAsync(orderId, Price)));
        await Stack.Provider.BehaveAsync(duplicates: 1);
        await Task.WhenAll(payments.Select(Stack.Provider.PayAsync));
        await Eventually.GetAsync("eleven refunds are confirmed", TimeSpan.FromSeconds(30),
            () => ScalarAsync<long>("select count(*) from refund where order_id = @orderId and state = 'confirmed'", new { orderId }), count => count == 11);
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from payment where order_id = @orderId and state = 'succeeded'", new { orderId }));
        await StatusAsync("buyer", orderId, "paid");
    }

    [Fact]
    public async Task A_refund_is_asked_for_until_the_provider_is_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var url = await PaymentUrlAsync(orderId);
        var paymentId = url[(url.LastIndexOf('/') + 1)..];
        // The provider has the money but sends no notice. The test sends the notice while the provider hangs.
        await Stack.Provider.BehaveAsync(outcome: "never");
        await Stack.Provider.PayAsync(url);
        await CancelAsync(sale, orderId);
        Stack.Sandbox.Freeze();
        try
        {
            Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, paymentId)).Status);
            await Eventually.GetAsync("two attempts have failed", TimeSpan.FromSeconds(40),
                () => ScalarAsync<long>("select count(*) from refund where payment_id = @paymentId and attempts >= 2 and last_error is not null", new { paymentId }), count => count == 1);
            Assert.Equal("due", await RefundStateAsync(paymentId));
        }
        finally
        {
            Stack.Sandbox.Thaw();
        }
        // While the provider does not tell the outcome, a refund stays under way.
        await Eventually.GetAsync("the provider has taken the refund", TimeSpan.FromSeconds(30), () => Stack.Provider.StatusAsync(paymentId), status => status == "refunding");
        await Eventually.GetAsync("it is said to be pending", TimeSpan.FromSeconds(30),
            () => ScalarAsync<long>("select count(*) from refund where payment_id = @paymentId and state = 'due' and last_error is null", new { paymentId }), count => count == 1);
        await Stack.Provider.BehaveAsync();
        await RefundAsync(paymentId, "confirmed");
        Assert.Equal("refunded", await Stack.Provider.StatusAsync(paymentId));
        Assert.Equal("cancelled", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_refund_taken_by_a_worker_that_dies_is_asked_for_by_another()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var paymentId = await Stack.Provider.CreateAsync(orderId, Price);
        await CancelAsync(sale, orderId);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        await Stack.Provider.PayAsync(paymentId);
        await RefundAsync(paymentId, "due");
        // The row looks as if a worker had taken it and died, and the lease had run out.
        await ScalarAsync<object?>("update refund set attempts = 1, next_at = now() where payment_id = @paymentId", new { paymentId });
        await Stack.Workers[1].StartAsync();
        await RefundAsync(paymentId, "confirmed");
        await Stack.Workers[0].StartAsync();
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Due_refunds_and_payments_without_an_answer_are_metrics()
    {
        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
        await Eventually.GetAsync("the metric is there", TimeSpan.FromSeconds(20),
            () => http.GetStringAsync(new Uri(Stack.Worker.ManagementUrl, "/metrics")), text => text.Contains("\nflashsale_refunds_due 0", StringComparison.Ordinal)
                && text.Contains("\nflashsale_payments_unanswered ", StringComparison.Ordinal) && text.Contains("\nflashsale_payments_unmatched ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_payment_whose_notice_is_lost_pays_its_order_before_that_expires()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var url = await PaymentUrlAsync(orderId);
        await Stack.Provider.BehaveAsync(outcome: "never");
        await Stack.Provider.PayAsync(url);
        await DueAsync(orderId);
        await StatusAsync("buyer", orderId, "paid");
        Assert.Equal("succeeded", await PaymentStateAsync(PaymentIdOf(url)));
        Assert.Null(await RefundStateAsync(PaymentIdOf(url)));
        // A notice that comes after all changes nothing.
        Assert.Equal(200, (await NotifyAsync("payment.succeeded", orderId, PaymentIdOf(url))).Status);
        Assert.Null(await RefundStateAsync(PaymentIdOf(url)));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_provider_that_is_away_holds_no_expiry_up_and_what_it_tells_later_is_refunded()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var paymentId = PaymentIdOf(await PaymentUrlAsync(orderId));
        await Stack.Provider.BehaveAsync(outcome: "never");
        await Stack.Provider.PayAsync(paymentId);
        Stack.Sandbox.Freeze();
        try
        {
            await DueAsync(orderId);
            await StatusAsync("buyer", orderId, "expired");
            Assert.Equal("created", await PaymentStateAsync(paymentId));
        }
        finally
        {
            Stack.Sandbox.Thaw();
        }
        await Stack.Provider.BehaveAsync();
        await RefundAsync(paymentId, "confirmed");
        Assert.Equal("surplus", await PaymentStateAsync(paymentId));
        Assert.Equal("expired", (await Stack.Shopper("buyer").OrderAsync(orderId)).Member("status"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task An_order_with_an_open_payment_expires_once_the_provider_has_said_that_it_is_not_paid_and_is_asked_about_later()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        var paymentId = PaymentIdOf(await PaymentUrlAsync(orderId));
        await DueAsync(orderId);
        await StatusAsync("buyer", orderId, "expired");
        Assert.True(await ScalarAsync<bool>("select answered_at is not null and ask_at > now() and asks = 1 from payment where payment_id = @paymentId", new { paymentId }));
        // The next question finds money that comes after the first.
        await Stack.Provider.BehaveAsync(outcome: "never");
        await Stack.Provider.PayAsync(paymentId);
        await ExecuteAsync("update payment set ask_at = now() where payment_id = @paymentId", new { paymentId });
        await RefundAsync(paymentId, "due");
        await Stack.Provider.BehaveAsync();
        await RefundAsync(paymentId, "confirmed");
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_payment_or_refund_that_was_refused_is_asked_for_under_another_key()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await OrderAsync(sale);
        await Stack.Provider.BehaveAsync(refuse: true);
        Refusal.AssertIs(503, "temporarily_unavailable", await StartAsync(orderId));
        await Stack.Provider.BehaveAsync();
        var paymentId = PaymentIdOf(await PaymentUrlAsync(orderId));
        await Stack.Provider.PayAsync(paymentId);
        await StatusAsync("buyer", orderId, "paid");
        await Stack.Provider.BehaveAsync(refuse: true);
        Assert.Equal(200, (await Stack.Manager.RefundAsync(orderId)).Status);
        await Eventually.TrueAsync("the refund was refused", TimeSpan.FromSeconds(30),
            async () => await ScalarAsync<int>("select refusals from refund where payment_id = @paymentId", new { paymentId }) > 0);
        await Stack.Provider.BehaveAsync();
        await RefundAsync(paymentId, "confirmed");
    }
}
