using System.Diagnostics;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Api.Orders;

/// <summary>
/// Receives the announcements of Redis about the orders that streams on this node watch. There is one subscription per
/// sale. An announcement can be lost without a sign. So when a sale's channel was silent for some seconds, this node
/// publishes an empty announcement on it. As long as nothing arrives, the streams read their orders more often by
/// themselves.
/// </summary>
public sealed class OrderAnnouncements
{
    private const int SizeBytes = 17;

    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Trust = TimeSpan.FromSeconds(12);
    private static readonly byte[] Empty = [];

    private readonly RedisConnection _redis;
    private readonly Lock _sync = new();
    private readonly Dictionary<string, Channel> _channels = new(StringComparer.Ordinal);

    /// <summary>
    /// Follows the connection and subscribes again when it is replaced: a new connection has no subscriptions.
    /// </summary>
    public OrderAnnouncements(RedisConnection redis)
    {
        _redis = redis;
        redis.Replaced += () => _ = SubscribeAgainAsync();
    }

    /// <summary>
    /// Begins to watch an order. When this call has returned, announcements wake the watcher, if Redis could be
    /// reached.
    /// </summary>
    public async Task<OrderWatch> WatchAsync(Order order)
    {
        var watch = new OrderWatch(order.OrderId, order.SaleId);
        bool first;
        lock (_sync)
        {
            first = !_channels.TryGetValue(order.SaleId, out var channel);
            if (first) _channels[order.SaleId] = channel = new Channel();
            if (!channel!.Watches.TryGetValue(order.OrderId, out var watches)) channel.Watches[order.OrderId] = watches = [];
            watches.Add(watch);
        }
        if (first) await SubscribeAsync(order.SaleId);
        return watch;
    }

    /// <summary>Ends a watch. The last watch of a sale ends its subscription too.</summary>
    public async Task ForgetAsync(OrderWatch watch)
    {
        bool last;
        lock (_sync)
        {
            var channel = _channels[watch.SaleId];
            channel.Watches[watch.OrderId].Remove(watch);
            if (channel.Watches[watch.OrderId].Count == 0) channel.Watches.Remove(watch.OrderId);
            last = channel.Watches.Count == 0;
            if (last) _channels.Remove(watch.SaleId);
        }
        if (!last) return;
        try
        {
            await _redis.UnsubscribeAsync(new SaleKeys(watch.SaleId).SettledChannel);
        }
        catch (Exception e) when (IsAway(e))
        {
            // The subscription stays. An announcement without a watcher does no harm.
        }
        // A watcher may have come meanwhile and lost its subscription to this call. Subscribe again for it.
        bool back;
        lock (_sync) back = _channels.ContainsKey(watch.SaleId);
        if (back) await SubscribeAsync(watch.SaleId);
    }

    /// <summary>
    /// Whether announcements of a watched sale arrive. Publishes an empty one when the channel was silent for some
    /// seconds.
    /// </summary>
    public bool Arrive(string saleId)
    {
        Channel? channel;
        lock (_sync) channel = _channels.GetValueOrDefault(saleId);
        if (channel is null) return false;
        var silence = channel.Silence;
        if (silence > Silence && Interlocked.Exchange(ref channel.Asking, 1) == 0) _ = AskAsync(saleId, channel);
        return silence <= Trust;
    }

    /// <summary>Wakes all watchers.</summary>
    public void WakeAll()
    {
        lock (_sync)
        {
            foreach (var watch in _channels.Values.SelectMany(channel => channel.Watches.Values).SelectMany(watches => watches)) watch.Wake();
        }
    }

    private async Task SubscribeAgainAsync()
    {
        string[] sales;
        lock (_sync) sales = [.. _channels.Keys];
        foreach (var saleId in sales) await SubscribeAsync(saleId);
    }

    private async Task SubscribeAsync(string saleId)
    {
        try
        {
            await _redis.SubscribeAsync(new SaleKeys(saleId).SettledChannel, settled => Announce(saleId, settled));
        }
        catch (Exception e) when (IsAway(e))
        {
            // No announcement will arrive, so the streams read their orders by themselves.
            return;
        }
        _ = Arrive(saleId);
    }

    private async Task AskAsync(string saleId, Channel channel)
    {
        try
        {
            await _redis.CallAsync(database => database.PublishAsync(StackExchange.Redis.RedisChannel.Literal(new SaleKeys(saleId).SettledChannel), Empty));
        }
        catch (Exception e) when (IsAway(e))
        {
            // The channel stays silent, and that tells the streams the same.
        }
        finally
        {
            Volatile.Write(ref channel.Asking, 0);
        }
    }

    // An announcement is a sequence of order id (16 bytes) and verdict (1 byte). An empty one only shows that the
    // channel works.
    private void Announce(string saleId, byte[] settled)
    {
        lock (_sync)
        {
            if (!_channels.TryGetValue(saleId, out var channel)) return;
            channel.Hear();
            for (var i = 0; i + SizeBytes <= settled.Length; i += SizeBytes)
            {
                if (!channel.Watches.TryGetValue(new Guid(settled.AsSpan(i, 16), bigEndian: true), out var watches)) continue;
                foreach (var watch in watches) watch.Announced();
            }
        }
    }

    private static bool IsAway(Exception e) =>
        Stores.IsRedisAway(e) || e is StackExchange.Redis.RedisException or TimeoutException or ObjectDisposedException;

    private sealed class Channel
    {
        public readonly Dictionary<Guid, List<OrderWatch>> Watches = [];
        public int Asking;
        private long _heardAt = long.MinValue;

        public TimeSpan Silence => Volatile.Read(ref _heardAt) is var at && at == long.MinValue ? TimeSpan.MaxValue : Stopwatch.GetElapsedTime(at);

        public void Hear() => Volatile.Write(ref _heardAt, Stopwatch.GetTimestamp());
    }
}
