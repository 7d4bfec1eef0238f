using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using FlashSale.LoadTests.Faults;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests the proxy of the fault runs before a server that sends back the bytes it gets.</summary>
public sealed class ProxyTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Silence = TimeSpan.FromMilliseconds(300);

    private readonly TcpListener _echo = new(IPAddress.Loopback, 0);
    private Proxy _proxy = null!;

    public ValueTask InitializeAsync()
    {
        _echo.Start();
        _ = EchoAsync();
        _proxy = new Proxy(0, (IPEndPoint)_echo.LocalEndpoint);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _proxy.DisposeAsync();
        _echo.Dispose();
    }

    [Fact]
    public async Task A_megabyte_comes_back_as_it_was_sent_and_the_end_is_passed_on()
    {
        using var client = await ConnectAsync();
        var sent = new byte[1 << 20];
        new Random(1).NextBytes(sent);
        var sending = SendAllAsync(client, sent);
        Assert.Equal(sent, await ReceiveAsync(client, sent.Length));
        await sending;
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await client.ReceiveAsync(new byte[1]).WaitAsync(Patience));
        await Eventually.TrueAsync(Patience, () => _proxy.Connections == 0);
    }

    [Fact]
    public async Task Through_a_blackhole_nothing_comes_and_all_of_it_comes_afterwards()
    {
        using var old = await ConnectAsync();
        Assert.Equal("before"u8.ToArray(), await AskAsync(old, "before"u8.ToArray()));
        _proxy.Set(ProxyMode.Blackhole);
        // The connection looks good to a new client, too.
        using var young = await ConnectAsync();
        await SendAllAsync(old, "held"u8.ToArray());
        await SendAllAsync(young, "also"u8.ToArray());
        var answers = new[] { ReceiveAsync(old, 4), ReceiveAsync(young, 4) };
        await Eventually.TrueAsync(Patience, () => _proxy.Hits >= 2);
        Assert.False(await EndsWithinAsync(Task.WhenAny(answers), Silence), "Something came through the blackhole.");
        _proxy.Set(ProxyMode.Pass);
        Assert.Equal("held"u8.ToArray(), await answers[0]);
        Assert.Equal("also"u8.ToArray(), await answers[1]);
    }

    [Fact]
    public async Task A_reset_ends_old_connections_and_new_ones_until_it_is_over()
    {
        using var old = await ConnectAsync();
        await AskAsync(old, "before"u8.ToArray());
        _proxy.Set(ProxyMode.Reset);
        Assert.Equal(SocketError.ConnectionReset, await EndOfAsync(old));
        Assert.Equal(SocketError.ConnectionReset, await EndOfNewAsync());
        Assert.Equal(2, _proxy.Hits);
        _proxy.Set(ProxyMode.Pass);
        using var after = await ConnectAsync();
        Assert.Equal("after"u8.ToArray(), await AskAsync(after, "after"u8.ToArray()));
    }

    [Fact]
    public async Task Latency_delays_each_round_trip_and_keeps_requests_that_overlap_overlapping()
    {
        using var client = await ConnectAsync();
        _proxy.Set(ProxyMode.Latency);
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < 100; i++) await SendAllAsync(client, [(byte)i]);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (byte)i), await ReceiveAsync(client, 100));
        // One after the other the bytes would take a hundred times as long. Half of that leaves room for a busy
        // machine.
        Assert.InRange(clock.Elapsed, _proxy.Latency - TimeSpan.FromMilliseconds(5), _proxy.Latency * 50);
        Assert.True(_proxy.Hits > 0);
    }

    [Fact]
    public async Task With_the_server_away_connections_end_and_with_the_server_back_they_hold()
    {
        var address = (IPEndPoint)_echo.LocalEndpoint;
        _echo.Stop();
        await EndOfNewAsync();
        using var again = new TcpListener(address);
        again.Start();
        using var client = await ConnectAsync();
        using var server = await again.AcceptSocketAsync().WaitAsync(Patience);
        await SendAllAsync(client, "hello"u8.ToArray());
        Assert.Equal("hello"u8.ToArray(), await ReceiveAsync(server, 5));
        // A server that dies takes its clients' connections with it.
        server.Close();
        await EndOfAsync(client);
    }

    private async Task EchoAsync()
    {
        try
        {
            while (true) _ = EchoAsync(await _echo.AcceptSocketAsync());
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The listener was stopped.
        }
    }

    private static async Task EchoAsync(Socket socket)
    {
        using var client = socket;
        var buffer = new byte[4_096];
        try
        {
            for (int length; (length = await client.ReceiveAsync(buffer)) > 0;) await SendAllAsync(client, buffer[..length]);
        }
        catch (SocketException)
        {
            // The connection was reset.
        }
    }

    private async Task<Socket> ConnectAsync()
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, _proxy.Port);
        return socket;
    }

    private static async Task<byte[]> AskAsync(Socket socket, byte[] bytes)
    {
        await SendAllAsync(socket, bytes);
        return await ReceiveAsync(socket, bytes.Length);
    }

    private static async Task SendAllAsync(Socket socket, byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;) sent += await socket.SendAsync(bytes.AsMemory(sent)).AsTask().WaitAsync(Patience);
    }

    private static async Task<byte[]> ReceiveAsync(Socket socket, int length)
    {
        var bytes = new byte[length];
        for (var received = 0; received < length;)
        {
            var more = await socket.ReceiveAsync(bytes.AsMemory(received)).AsTask().WaitAsync(Patience);
            Assert.True(more > 0, $"The connection ended after {received} of {length} bytes.");
            received += more;
        }
        return bytes;
    }

    /// <returns>Success if the stream ended, otherwise the error that ended the connection.</returns>
    private static async Task<SocketError> EndOfAsync(Socket socket)
    {
        try
        {
            Assert.Equal(0, await socket.ReceiveAsync(new byte[1]).WaitAsync(Patience));
            return SocketError.Success;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode;
        }
    }

    // The connection may end while it is being made.
    private async Task<SocketError> EndOfNewAsync()
    {
        try
        {
            using var socket = await ConnectAsync();
            return await EndOfAsync(socket);
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode;
        }
    }

    private static async Task<bool> EndsWithinAsync(Task task, TimeSpan time) => await Task.WhenAny(task, Task.Delay(time)) == task;
}
