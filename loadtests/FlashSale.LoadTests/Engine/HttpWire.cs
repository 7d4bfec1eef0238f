using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A pool of keep-alive HTTP/1.1 connections to one address. It is as cheap as possible, because the generator shares
/// its cores with the product that it measures. A request is the bytes that go out. Each answer is read into memory of
/// its own. The pool does not retry, redirect or decompress, so a caller gets the outcome as it happened. It never
/// throws for anything that the other side does.
/// </summary>
public sealed class HttpWire : IAsyncDisposable
{
    private static readonly TimeSpan Sweep = TimeSpan.FromMilliseconds(20);

    private readonly WireConnection?[] _connections;
    private readonly Stack<int> _free;
    private readonly SemaphoreSlim _places;
    private readonly Uri _address;
    private readonly Timer _sweeper;

    /// <summary>Creates the pool without connections. They are made when they are needed.</summary>
    /// <param name="address">http://host:port. A path is ignored.</param>
    /// <param name="maxConnections">The most connections at once. A request that finds no free connection waits in
    /// order, and the wait counts towards its timeout.</param>
    public HttpWire(Uri address, int maxConnections)
    {
        if (address.Scheme != Uri.UriSchemeHttp) throw new ArgumentException($"{address}: must begin with http://", nameof(address));
        ArgumentOutOfRangeException.ThrowIfLessThan(maxConnections, 1);
        _address = address;
        _connections = new WireConnection?[maxConnections];
        _free = new Stack<int>(Enumerable.Range(0, maxConnections).Reverse());
        _places = new SemaphoreSlim(maxConnections);
        // One look at all connections is cheaper than a timer for each request. A request may time out up to that
        // interval late.
        _sweeper = new Timer(_ => LookForLate(), null, Sweep, Sweep);
    }

    /// <summary>Opens connections before the first requests.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">No server accepts a connection at the address.</exception>
    public async Task ConnectAsync(int connections, CancellationToken cancel)
    {
        for (var i = 0; i < Math.Min(connections, _connections.Length); i++) await At(i).ConnectAsync(cancel);
    }

    /// <summary>Sends a request and reads its answer.</summary>
    /// <param name="request">The whole HTTP/1.1 request. It must stay unchanged until the answer is there.</param>
    /// <param name="timeout">Limit for the whole exchange, including the wait for a connection. It is kept to about 20
    /// ms.</param>
    /// <param name="cancel">Gives up the exchange. The pool checks it every 20 ms.</param>
    public async ValueTask<WireAnswer> SendAsync(ReadOnlyMemory<byte> request, TimeSpan timeout, CancellationToken cancel)
    {
        var deadline = Stopwatch.GetTimestamp() + (long)(timeout.TotalSeconds * Stopwatch.Frequency);
        try
        {
            if (!await _places.WaitAsync(timeout, cancel)) return WireAnswer.None(WireFailure.NotSent);
        }
        catch (OperationCanceledException)
        {
            return WireAnswer.None(WireFailure.NotSent);
        }
        int place;
        lock (_free) place = _free.Pop();
        try
        {
            return await At(place).ExchangeAsync(request, deadline, cancel);
        }
        finally
        {
            // The connection used last goes first. So few connections stay busy and the others rest.
            lock (_free) _free.Push(place);
            _places.Release();
        }
    }

    /// <summary>Closes all connections. Requests that still wait for an answer get no answer.</summary>
    public async ValueTask DisposeAsync()
    {
        await _sweeper.DisposeAsync();
        foreach (var connection in _connections) connection?.Dispose();
    }

    private WireConnection At(int place) => _connections[place] ??= new WireConnection(_address);

    private void LookForLate()
    {
        var now = Stopwatch.GetTimestamp();
        foreach (var connection in _connections) connection?.GiveUpWhenLate(now);
    }
}
