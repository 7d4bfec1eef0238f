using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Payments;

/// <summary>
/// A stack with a payment provider, two Apis and two workers. The workers soon ask again for a refund.
/// </summary>
public sealed class WithProvider() : StackFixture(new StackOptions
{
    Payments = true,
    Apis = 2,
    Workers = 2,
    Settings = new(StringComparer.Ordinal)
    {
        ["Refunds__FirstRetryMilliseconds"] = "200",
        ["Refunds__LongestRetrySeconds"] = "1",
        ["Dependencies__Payments__TimeoutMilliseconds"] = "1000",
        ["Dependencies__Payments__RetryMilliseconds"] = "50",
        ["Dependencies__Payments__BreakMilliseconds"] = "500",
        ["Orders__ProviderAnswerSeconds"] = "5",
    },
});

public abstract class PaymentTest(StackFixture fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    protected const long Price = 199_900;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    public override async ValueTask InitializeAsync()
    {
        if (!Stack.Sandbox.IsRunning) await Stack.Sandbox.StartAsync();
        await Stack.Provider.BehaveAsync();
    }

    /// <summary>Buys, and waits until the order waits for its payment.</summary>
    protected async Task<Guid> OrderAsync(Sale sale, string user = "buyer")
    {
        var orderId = (await Stack.Shopper(user).BuyAsync(sale)).OrderId;
        await StatusAsync(user, orderId, "pending_payment");
        return orderId;
    }

    protected Task<Answer> StartAsync(Guid orderId, string user = "buyer", int node = 0) => Stack.Shopper(user, node).SendAsync(HttpMethod.Post, $"/api/v1/orders/{orderId}/payment");

    protected async Task<string> PaymentUrlAsync(Guid orderId, string user = "buyer") => Manager.Expect(200, await StartAsync(orderId, user)).Member("paymentUrl")!;

    protected Task<Answer> StatusAsync(string user, Guid orderId, string status) => Eventually.GetAsync(
        $"order {orderId} is {status}", Deadline, () => Stack.Shopper(user, node: 1).OrderAsync(orderId), answer => answer.Status == 200 && answer.Member("status") == status);

    protected Task<Answer> NotifyAsync(string type, Guid orderId, string paymentId, long amount = Price, string currency = "CNY", string? id = null) =>
        Stack.Provider.NotifyAsync(Provider.Notice(type, orderId, paymentId, amount, currency), id);

    /// <summary>Cancels an order as its shopper would by POST /cancel.</summary>
    protected async Task CancelAsync(Sale sale, Guid orderId, string user = "buyer") => Assert.Equal("cancelled", await ScalarAsync<string>(
        "select cancel_order(s.sale_id, s.number, @orderId, @user, 100) from sale s where s.sale_id = @Id", new { sale.Id, orderId, user }));

    /// <summary>Ends the grace of an order now, and lets the worker ask the provider about its payment.</summary>
    protected Task DueAsync(Guid orderId) => ExecuteAsync("""
        with due as (update orders set pay_by = now() - interval '5 s' where order_id = @orderId returning order_id, pay_by)
        update payment p set ask_at = due.pay_by from due where p.order_id = due.order_id and p.ask_at is not null
        """, new { orderId });

    protected static string PaymentIdOf(string paymentUrl) => paymentUrl[(paymentUrl.LastIndexOf('/') + 1)..];

    protected Task<string?> PaymentStateAsync(string paymentId) => ScalarAsync<string?>("select state from payment where payment_id = @paymentId", new { paymentId });

    protected Task<string?> RefundStateAsync(string paymentId) => ScalarAsync<string?>("select state from refund where payment_id = @paymentId", new { paymentId });

    protected Task<string?> RefundAsync(string paymentId, string state) => Eventually.GetAsync(
        $"the refund of {paymentId} is {state}", Deadline, () => RefundStateAsync(paymentId), found => found == state);

    /// <summary>All rows that a notice could have left behind about an order, for comparison.</summary>
    protected async Task<string?> TracesAsync(Guid orderId) => await ScalarAsync<string?>("""
        select jsonb_build_object(
            'order', (select to_jsonb(o) from orders o where order_id = @orderId),
            'payments', (select jsonb_agg(p order by payment_id) from payment p where order_id = @orderId),
            'refunds', (select jsonb_agg(r order by payment_id) from refund r where order_id = @orderId),
            'receipts', (select jsonb_agg(w order by webhook_id) from webhook_receipt w where order_id = @orderId),
            'events', (select jsonb_agg(to_jsonb(e) - 'published_at' order by event_id) from order_event e where @orderId = any (order_ids)))::text
        """, new { orderId });
}
