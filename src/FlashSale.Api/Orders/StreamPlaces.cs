using FlashSale.Orders;
using System.Diagnostics.Metrics;
using FlashSale.Platform;

namespace FlashSale.Api.Orders;

/// <summary>The answer to a stream that asks for a place.</summary>
public enum StreamPlace
{
    /// <summary>The stream has a place, and must give it back.</summary>
    Taken,

    /// <summary>The user has as many streams on this node as <c>Orders:StreamsPerUser</c> allows.</summary>
    UserFull,

    /// <summary>
    /// The node has as many streams as it may. They use half of its connections, and the other half is for purchases.
    /// </summary>
    NodeFull,
}

/// <summary>Counts the open streams of this node, in total and by user. Thread-safe.</summary>
public sealed class StreamPlaces
{
    private static readonly Meter Meter = new("FlashSale.Orders");

    private readonly Lock _sync = new();
    private readonly Dictionary<string, int> _ofUser = new(StringComparer.Ordinal);
    private readonly int _perUser;
    private readonly int _most;
    private int _open;

    /// <summary>
    /// Takes the bound of a user from the settings. The bound of the node is half of its connections.
    /// </summary>
    public StreamPlaces(OrderOptions options, ConnectionCap connections)
    {
        _perUser = options.StreamsPerUser;
        _most = Math.Max(1, connections.Max / 2);
        Meter.CreateObservableGauge("flashsale_order_streams", () => Volatile.Read(ref _open), description: "Open event streams of orders.");
    }

    /// <summary>Takes a place for a stream of this user, if there is one.</summary>
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

    /// <summary>Gives back a place of this user.</summary>
    public void Release(string userId)
    {
        lock (_sync)
        {
            _open--;
            if (--_ofUser[userId] == 0) _ofUser.Remove(userId);
        }
    }
}
