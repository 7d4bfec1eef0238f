using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Events;

/// <summary>
/// Sells to a crowd, moves its orders on, and keeps the events that the product must publish for them.
/// </summary>
public sealed class EventSale
{
    private readonly Stack _stack;
    private readonly Sale _sale;
    private readonly int _number;
    private readonly Dictionary<Guid, string[]> _expected = [];

    private EventSale(Stack stack, Sale sale, int number)
    {
        _stack = stack;
        _sale = sale;
        _number = number;
    }

    public string Id => _sale.Id;

    /// <summary>The types of the expected events, by order.</summary>
    public IReadOnlyDictionary<Guid, string[]> Expected => _expected;

    public IReadOnlyList<Guid> Orders => [.. _sale.History.Accepted.Select(told => told.Answer.OrderId)];

    public static async Task<EventSale> OpenAsync(Stack stack, bool loadRun = false)
    {
        var sale = await stack.OpenSaleAsync([new ItemDraft("phone-1", Stock: 100_000)], loadRun: loadRun);
        await using var connection = await stack.Database.Source.OpenConnectionAsync();
        return new EventSale(stack, sale, await connection.QuerySingleAsync<int>("select number from sale where sale_id = @Id", new { sale.Id }));
    }

    /// <summary>Lets a crowd buy and waits until all of its orders are stored.</summary>
    public async Task SellAsync(int users, string prefix = "user")
    {
        await Crowd.AllBuyAsync(_stack, _sale, users, prefix);
        await StoredAsync();
    }

    public async Task StoredAsync()
    {
        foreach (var orderId in Orders) _expected.TryAdd(orderId, ["OrderPlaced"]);
        await Eventually.TrueAsync("every order is stored", TimeSpan.FromSeconds(60), async () =>
            await CountAsync("select count(*) from orders where sale_id = @Id") == Orders.Count);
    }

    /// <summary>Of every four orders, cancels one, pays one, pays and refunds one, and leaves one alone.</summary>
    /// <param name="pause">The pause after each order.</param>
    /// <param name="prefix">Only orders of users with this prefix are moved.</param>
    public async Task MoveAsync(TimeSpan pause = default, string prefix = "user")
    {
        var moved = _sale.History.Accepted.Where(told => told.UserId.StartsWith(prefix + "-", StringComparison.Ordinal)).ToArray();
        for (var i = 0; i < moved.Length; i++)
        {
            var orderId = moved[i].Answer.OrderId;
            switch (i % 4)
            {
                case 1:
                    Assert.Equal("cancelled", await ScalarAsync<string>("select cancel_order(@Id, @number, @orderId, @user, 1000000)", orderId, moved[i].UserId));
                    _expected[orderId] = ["OrderPlaced", "OrderClosed"];
                    break;
                case 2 or 3:
                    Assert.Equal("paid", await ScalarAsync<string>("select pay_order(@orderId, 'pay-' || @orderId, 199900, 'CNY')", orderId));
                    _expected[orderId] = ["OrderPlaced", "OrderPaid"];
                    if (i % 4 == 2) break;
                    Assert.True(await ScalarAsync<bool>("select refund_order(@Id, @number, @orderId, 'goodwill')", orderId));
                    _expected[orderId] = ["OrderPlaced", "OrderPaid", "OrderClosed"];
                    break;
            }
            if (pause > TimeSpan.Zero) await Task.Delay(pause);
        }
    }

    /// <summary>Counts the event rows that are not marked as published.</summary>
    public Task<long> UnpublishedAsync() => CountAsync("select count(*) from order_event where sale_id = @Id and published_at is null");

    /// <summary>Waits until every row is marked as published.</summary>
    public Task PublishedAsync(int seconds = 60) =>
        Eventually.TrueAsync("every event is published", TimeSpan.FromSeconds(seconds), async () => await UnpublishedAsync() == 0);

    /// <summary>
    /// Waits until every row is marked as published, and judges the messages that the subscriber got.
    /// </summary>
    public async Task<IReadOnlyList<ToldEvent>> CheckAsync(EventTap tap)
    {
        await PublishedAsync();
        var told = await tap.ReadAsync();
        await tap.CloseAsync();
        var broken = EventStream.Judge(told.Select(message => (message.OrderId, message.MessageId)), Expected);
        Assert.True(broken.Count == 0, $"{broken.Count} of {Expected.Count} orders were told wrongly:\n{string.Join('\n', broken.Take(10))}");
        return told;
    }

    public Task<long> CountAsync(string sql) => ScalarAsync<long>(sql, default);

    private async Task<T> ScalarAsync<T>(string sql, Guid orderId, string user = "")
    {
        await using var connection = await _stack.Database.Source.OpenConnectionAsync();
        return (await connection.ExecuteScalarAsync<T>(sql, new { Id, number = _number, orderId, user }))!;
    }
}
