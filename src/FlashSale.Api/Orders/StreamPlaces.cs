using FlashSale.Orders;
using System.Diagnostics.Metrics;
using FlashSale.Platform;

namespace FlashSale.Api.Orders;

/// <summary>How a request for a stream ended.</summary>
public enum StreamPlace
{
    /// <summary>It has a place, which is to be given back.</summary>
    Taken,

    /// <summary>The user has as many streams on this node as one may.</summary>
    UserFull,

    /// <summary>The node has as many streams as it may: the other half of its connections is for those who buy.</summary>
    NodeFull,
}

/// <summary>Counts the open streams of this node, in all and of each user. Thread-safe.</summary>
public sealed class StreamPlaces
{
    private static readonly Meter Meter = new("FlashSale.Orders");

    private readonly Lock _sync = new();
    private readonly Dictionary<string, int> _ofUser = new(StringComparer.Ordinal);
    private readonly int _perUser;
    private readonly int _most;
    private int _open;

    /// <summary>Takes the bounds.</summary>
    public StreamPlaces(OrderOptions options, ConnectionCap connections)
    {
        _perUser = options.StreamsPerUser;
        _most = Math.Max(1, connections.Max / 2);
        Meter.CreateObservableGauge("flashsale_order_streams", () => Volatile.Read(ref _open), description: "Open event streams of orders.");
    }

    /// <summary>Takes a place, or not.</summary>
    public StreamPlace TryTake(string userId)
    {
        lock (_sync)
        {
            var count = _ofUser.GetValueOrDefault(userId);
            if (count >= _perUser) return StreamPlace.UserFull;
            if (_open >= _most) return StreamPlace.NodeFull;
            _ofUser[userId] = count + 1;
            _open++;
            return StreamPlace.Taken;
        }
    }

    /// <summary>Gives a place back.</summary>
    public void Release(string userId)
    {
        lock (_sync)
        {
            _open--;
            if (--_ofUser[userId] == 0) _ofUser.Remove(userId);
        }
    }
}
