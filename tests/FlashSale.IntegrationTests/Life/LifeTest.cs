using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Life;

/// <summary>Two Api nodes and two workers that compare the books every second.</summary>
public sealed class Lively() : StackFixture(new StackOptions { Apis = 2, Workers = 2, Settings = LifeTest.Settings() });

/// <summary>
/// The stack of <see cref="Lively"/> on a Postgres and a broker of its own, which tests may take down.
/// </summary>
public sealed class LivelyOnOwnServers() : StackFixture(new StackOptions { Apis = 2, Workers = 2, OwnPostgres = true, OwnRabbitMq = true, Settings = LifeTest.Settings() });

/// <summary>A test of the life of orders after they are stored.</summary>
public abstract class LifeTest(StackFixture fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    internal static Dictionary<string, string> Settings() => new(StringComparer.Ordinal)
    {
        ["Reconcile__IntervalSeconds"] = "1",
        ["Relay__RepublishAfterSeconds"] = "2",
        ["Orders__MaxCancellations"] = "2",
        // Expirations are not limited, because the same few shoppers let orders expire again and again.
        ["Orders__MaxExpirations"] = "0",
    };

    /// <summary>Buys one unit, and waits until the order is stored.</summary>
    protected async Task<Guid> BuyStoredAsync(Sale sale, string userId, string? sku = null, int node = 0)
    {
        var answer = await Stack.Shopper(userId, node).BuyAsync(sale, sku: sku);
        Assert.True(answer.Status == 202, answer.ToString());
        await StatusAsync(answer.OrderId, "pending_payment");
        return answer.OrderId;
    }

    /// <summary>
    /// Records that a provider has told of a successful payment for the order. Returns the answer of pay_order.
    /// </summary>
    protected Task<string> PayAsync(Guid orderId, string? paymentId = null) => ScalarAsync<string>(
        "select pay_order(@orderId, @paymentId, amount, currency) from orders where order_id = @orderId", new { orderId, paymentId = paymentId ?? $"pay-{orderId}" });

    /// <summary>Makes orders of a sale due this many milliseconds from now, by the clock of Postgres.</summary>
    protected Task DueInAsync(Sale sale, int milliseconds, Guid? orderId = null) => ExecuteAsync("""
        update orders set pay_by = clock_timestamp() - interval '5 s' + @milliseconds * interval '1 ms'
        where sale_id = @Id and status = 'pending_payment' and (@orderId::uuid is null or order_id = @orderId)
        """, new { sale.Id, milliseconds, orderId });

    protected Task StatusAsync(Guid orderId, string status) => Eventually.TrueAsync($"{orderId} is {status}", Deadline, async () =>
        await ScalarAsync<string?>("select status from orders where order_id = @orderId", new { orderId }) == status);

    protected Task NonePendingAsync(Sale sale, int seconds = 60) => Eventually.TrueAsync($"no order of {sale.Id} waits for payment", TimeSpan.FromSeconds(seconds), async () =>
        !await ScalarAsync<bool>("select exists (select 1 from orders where sale_id = @Id and status = 'pending_payment')", new { sale.Id }));
}
