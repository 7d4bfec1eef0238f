using System.Text.Json;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Api.Orders;

/// <summary>
/// GET /api/v1/orders/{orderId}/events: one <c>status</c> event now, one at each change, the end after a final status.
/// Redis announces settled orders, but an announcement can be lost: subscribe, then read, then read again every 5 s.
/// </summary>
public sealed class OrderEvents
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    // After a look that failed: a store may have had too much to do just then.
    private const int SoonMilliseconds = 500;

    private readonly OrderReader _orders;
    private readonly RedisConnection _redis;
    private readonly Degradation _degradation;
    private readonly Lock _sync = new();
    private readonly Dictionary<string, Dictionary<Guid, List<SemaphoreSlim>>> _listeners = new(StringComparer.Ordinal);

    /// <summary>Follows the connection: a new one has none of the old one's subscriptions.</summary>
    public OrderEvents(OrderReader orders, RedisConnection redis, Degradation degradation)
    {
        _orders = orders;
        _degradation = degradation;
        _redis = redis;
        redis.Replaced += () => _ = SubscribeAgainAsync();
    }

    /// <summary>Streams until the order's status is final or the client goes.</summary>
    public async Task StreamAsync(HttpContext context, Order order)
    {
        var cancellation = context.RequestAborted;
        using var changed = new SemaphoreSlim(0);
        await ListenAsync(order, changed);
        try
        {
            context.Response.ContentType = "text/event-stream";
            context.Response.Headers.CacheControl = "no-store";
            for (Order? seen = null; ;)
            {
                var read = await ReadAsync(order, cancellation);
                var current = read ?? seen ?? order;
                if (seen?.Status != current.Status)
                {
                    var data = JsonSerializer.Serialize(OrderPage.Of(current), OrdersJson.Default.OrderPage);
                    await context.Response.WriteAsync($"event: status\ndata: {data}\n\n", cancellation);
                }
                else
                {
                    await context.Response.WriteAsync(": still here\n\n", cancellation);
                }
                await context.Response.Body.FlushAsync(cancellation);
                if (current.Status.IsFinal() || _degradation.IsOff(Features.LiveFigures)) return;
                seen = current;
                await changed.WaitAsync(read is null ? TimeSpan.FromMilliseconds(Random.Shared.Next(SoonMilliseconds, 2 * SoonMilliseconds)) : Interval, cancellation);
            }
        }
        finally
        {
            await ForgetAsync(order, changed);
        }
    }

    private async Task<Order?> ReadAsync(Order order, CancellationToken cancellation)
    {
        try
        {
            return await _orders.FindCurrentAsync(order.OrderId, order.SaleId, cancellation);
        }
        catch (Exception e) when (e is RedisUnavailableException || Postgres.IsTransient(e))
        {
            return null;
        }
    }

    private async Task ListenAsync(Order order, SemaphoreSlim changed)
    {
        bool first;
        lock (_sync)
        {
            first = !_listeners.TryGetValue(order.SaleId, out var ofSale);
            if (first) _listeners[order.SaleId] = ofSale = [];
            if (!ofSale!.TryGetValue(order.OrderId, out var ofOrder)) ofSale[order.OrderId] = ofOrder = [];
            ofOrder.Add(changed);
        }
        if (first) await SubscribeAsync(order.SaleId);
    }

    private async Task SubscribeAgainAsync()
    {
        string[] sales;
        lock (_sync) sales = [.. _listeners.Keys];
        foreach (var saleId in sales) await SubscribeAsync(saleId);
    }

    private async Task SubscribeAsync(string saleId)
    {
        try
        {
            await _redis.SubscribeAsync(new SaleKeys(saleId).SettledChannel, settled => Announce(saleId, settled));
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException)
        {
            // The interval stays.
        }
    }

    private async Task ForgetAsync(Order order, SemaphoreSlim changed)
    {
        bool last;
        lock (_sync)
        {
            var ofSale = _listeners[order.SaleId];
            ofSale[order.OrderId].Remove(changed);
            if (ofSale[order.OrderId].Count == 0) ofSale.Remove(order.OrderId);
            last = ofSale.Count == 0;
            if (last) _listeners.Remove(order.SaleId);
        }
        if (!last) return;
        try
        {
            await _redis.UnsubscribeAsync(new SaleKeys(order.SaleId).SettledChannel);
        }
        catch (Exception e) when (e is StackExchange.Redis.RedisException or TimeoutException or ObjectDisposedException)
        {
            // An announcement too many does no harm.
        }
        // Someone may have come in between, whose subscription went with this one.
        bool back;
        lock (_sync) back = _listeners.ContainsKey(order.SaleId);
        if (back) await SubscribeAsync(order.SaleId);
    }

    // An announcement is a sequence of order id (16 bytes) and verdict (1).
    private void Announce(string saleId, byte[] settled)
    {
        lock (_sync)
        {
            if (!_listeners.TryGetValue(saleId, out var ofSale)) return;
            for (var i = 0; i + 17 <= settled.Length; i += 17)
            {
                if (!ofSale.TryGetValue(new Guid(settled.AsSpan(i, 16), bigEndian: true), out var waiting)) continue;
                foreach (var changed in waiting) changed.Release();
            }
        }
    }
}
