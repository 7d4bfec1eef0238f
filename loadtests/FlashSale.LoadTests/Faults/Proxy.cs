using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace FlashSale.LoadTests.Faults;

/// <summary>Treatment of the bytes between the two sides of a <see cref="Proxy"/>.</summary>
public enum ProxyMode
{
    /// <summary>All bytes go through at once.</summary>
    Pass,

    /// <summary>
    /// Nothing goes through, and neither side is told: connections stay, and the proxy accepts new ones. Bytes sent
    /// meanwhile arrive when the fault is over, as they would by TCP's retransmissions.
    /// </summary>
    Blackhole,

    /// <summary>The proxy resets all connections, new ones at once.</summary>
    Reset,

    /// <summary>
    /// Bytes from clients arrive later by <see cref="Proxy.Latency"/>, and therefore every answer is later too.
    /// </summary>
    Latency,
}

/// <summary>
/// A TCP proxy on loopback before one server. It breaks the network between clients and server on demand. The mode may
/// change at any moment, and it holds for open connections and for new ones.
/// </summary>
public sealed class Proxy : IAsyncDisposable
{
    private const int ChunkBytes = 16_384;

    // A sender may have this many chunks under way before it must wait, as with a socket's buffer.
    private const int MostChunks = 64;

    private static readonly TaskCompletionSource Open = Opened();

    private readonly TcpListener _listener;
    private volatile IPEndPoint _target;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Link, byte> _links = new();
    private readonly Task _accepting;
    private volatile TaskCompletionSource _gate = Open;
    private volatile ProxyMode _mode;
    private long _hits;

    /// <summary>Listens at once.</summary>
    /// <param name="port">Port on 127.0.0.1. 0 takes a free port.</param>
    /// <param name="target">The server behind the proxy. It need not run yet. While it does not, connections end at
    /// once.</param>
    public Proxy(int port, IPEndPoint target)
    {
        _target = target;
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Start(backlog: 512);
        _accepting = AcceptAsync();
    }

    /// <summary>The port on which the proxy listens.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>The time that <see cref="ProxyMode.Latency"/> adds to a round trip.</summary>
    public TimeSpan Latency { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>
    /// Leads new connections to another server, as a host name does after a move. Open connections stay where they are.
    /// </summary>
    public void MoveTo(IPEndPoint target) => _target = target;

    /// <summary>The current mode.</summary>
    public ProxyMode Mode => _mode;

    /// <summary>Number of open connections.</summary>
    public int Connections => _links.Count;

    /// <summary>
    /// Number of times that the mode took effect since it was set: pieces held back or delayed, connections reset.
    /// </summary>
    public long Hits => Interlocked.Read(ref _hits);

    /// <summary>Changes the mode, and begins to count <see cref="Hits"/> anew.</summary>
    public void Set(ProxyMode mode)
    {
        var before = _gate;
        Interlocked.Exchange(ref _hits, 0);
        // The gate changes before the mode. A connection that sees the new mode must find the gate shut.
        if (mode == ProxyMode.Blackhole) _gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        else _gate = Open;
        _mode = mode;
        if (before != Open) before.TrySetResult();
        if (mode != ProxyMode.Reset) return;
        foreach (var link in _links.Keys)
        {
            Interlocked.Increment(ref _hits);
            link.Reset();
        }
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        Set(ProxyMode.Reset);
        await Task.WhenAll(_links.Keys.Select(link => link.Running));
        _listener.Dispose();
        _stop.Dispose();
    }

    private static TaskCompletionSource Opened()
    {
        var gate = new TaskCompletionSource();
        gate.SetResult();
        return gate;
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var link = new Link(this, await _listener.AcceptSocketAsync(_stop.Token));
                _links.TryAdd(link, 0);
                link.Start();
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or InvalidOperationException && _stop.IsCancellationRequested)
            {
                // The proxy was disposed of.
            }
            catch (SocketException)
            {
                // The client has gone again.
            }
        }
    }

    private readonly record struct Chunk(byte[] Bytes, int Length, long ReadAt);

    private sealed class Link(Proxy proxy, Socket client)
    {
        private readonly Socket _server = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        public Task Running { get; private set; } = Task.CompletedTask;

        public void Start() => Running = RunAsync();

        private async Task RunAsync()
        {
            // The rest must not run on the thread that accepts connections.
            await Task.Yield();
            try
            {
                client.NoDelay = true;
                await PassGateAsync();
                if (proxy.Mode == ProxyMode.Reset)
                {
                    Interlocked.Increment(ref proxy._hits);
                    Reset();
                    return;
                }
                await _server.ConnectAsync(proxy._target, proxy._stop.Token);
                await Task.WhenAll(PumpAsync(client, _server, isRequest: true), PumpAsync(_server, client, isRequest: false));
            }
            catch (Exception e) when (IsBroken(e))
            {
                // One side is gone, so the other one is reset too.
                Reset();
            }
            finally
            {
                client.Dispose();
                _server.Dispose();
                proxy._links.TryRemove(this, out _);
            }
        }

        /// <summary>Ends both sides with a TCP RST.</summary>
        public void Reset()
        {
            foreach (var socket in (Socket[])[client, _server])
            {
                try
                {
                    socket.LingerState = new LingerOption(enable: true, seconds: 0);
                }
                catch (Exception e) when (IsBroken(e))
                {
                    // The socket is closed already.
                }
                socket.Dispose();
            }
        }

        private async Task PumpAsync(Socket from, Socket to, bool isRequest)
        {
            var chunks = Channel.CreateBounded<Chunk>(new BoundedChannelOptions(MostChunks) { SingleReader = true, SingleWriter = true });
            var writing = WriteAsync(chunks.Reader, to, isRequest);
            try
            {
                while (true)
                {
                    var bytes = new byte[ChunkBytes];
                    var length = await from.ReceiveAsync(bytes, proxy._stop.Token);
                    if (length == 0) break;
                    // A broken writer takes no more chunks. Without this check the reader would wait for room for ever.
                    if (!await OfferAsync(chunks.Writer, new Chunk(bytes, length, Stopwatch.GetTimestamp()), writing)) break;
                }
            }
            catch (Exception e) when (IsBroken(e))
            {
                Reset();
            }
            finally
            {
                chunks.Writer.TryComplete();
            }
            await writing;
        }

        private static async ValueTask<bool> OfferAsync(ChannelWriter<Chunk> chunks, Chunk chunk, Task writing)
        {
            while (!chunks.TryWrite(chunk))
            {
                var room = chunks.WaitToWriteAsync().AsTask();
                if (await Task.WhenAny(room, writing) == writing) return false;
            }
            return true;
        }

        private async Task WriteAsync(ChannelReader<Chunk> chunks, Socket to, bool isRequest)
        {
            try
            {
                await foreach (var chunk in chunks.ReadAllAsync())
                {
                    if (isRequest && proxy.Mode == ProxyMode.Latency) await DelayAsync(chunk.ReadAt);
                    await PassGateAsync();
                    for (var sent = 0; sent < chunk.Length;) sent += await to.SendAsync(chunk.Bytes.AsMemory(sent, chunk.Length - sent), proxy._stop.Token);
                }
                await PassGateAsync();
                to.Shutdown(SocketShutdown.Send);
            }
            catch (Exception e) when (IsBroken(e))
            {
                Reset();
            }
        }

        private async ValueTask PassGateAsync()
        {
            while (!proxy._gate.Task.IsCompleted)
            {
                Interlocked.Increment(ref proxy._hits);
                await proxy._gate.Task.WaitAsync(proxy._stop.Token);
            }
        }

        private async ValueTask DelayAsync(long readAt)
        {
            Interlocked.Increment(ref proxy._hits);
            var left = proxy.Latency - Stopwatch.GetElapsedTime(readAt);
            if (left > TimeSpan.Zero) await Task.Delay(left, proxy._stop.Token);
        }

        private static bool IsBroken(Exception e) => e is SocketException or ObjectDisposedException or IOException or OperationCanceledException or InvalidOperationException;
    }
}
