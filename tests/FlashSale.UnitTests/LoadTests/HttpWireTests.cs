using System.Net;
using System.Net.Sockets;
using System.Text;
using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests the wire against a socket that sends exactly the bytes each test gives it.</summary>
public sealed class HttpWireTests : IAsyncDisposable
{
    private static readonly byte[] Request = Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly HttpWire _wire;
    private readonly TaskCompletionSource _never = new();
    private readonly List<Socket> _sockets = [];
    private int _connections;

    public HttpWireTests()
    {
        _listener.Start();
        _wire = new HttpWire(new Uri($"http://{_listener.LocalEndpoint}"), 2);
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _wire.DisposeAsync();
        lock (_sockets) foreach (var socket in _sockets) socket.Dispose();
    }

    [Fact]
    public async Task An_answer_is_read_by_its_length_and_the_connection_is_used_again()
    {
        Serve("HTTP/1.1 202 Accepted\r\nContent-Type: a/b\r\ncontent-LENGTH: 5\r\nIdempotency-Replayed: true\r\n\r\nhello", repeat: 3);
        for (var i = 0; i < 3; i++)
        {
            var answer = await SendAsync();
            Assert.Equal((202, "hello", WireFailure.None, false), (answer.Status, answer.Text, answer.Failure, answer.IsUnknown));
            Assert.Equal(("true", "a/b", null), (answer.HeaderText("idempotency-replayed"), answer.HeaderText("Content-Type"), answer.HeaderText("Retry-After")));
        }
        Assert.Equal(1, _connections);
    }

    [Fact]
    public async Task An_answer_that_comes_in_pieces_is_put_together()
    {
        Serve(["HTTP/1.1 200 O", "K\r\nContent-Le", "ngth: 10\r\n\r", "\nhello", "world"]);
        Assert.Equal("helloworld", (await SendAsync()).Text);
    }

    [Fact]
    public async Task A_chunked_answer_is_put_together()
    {
        Serve(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhel", "lo\r\n6\r\n world\r\n0\r\nTrailer: 1\r\n", "\r\n"], repeat: 2);
        Assert.Equal("hello world", (await SendAsync()).Text);
        Assert.Equal("hello world", (await SendAsync()).Text);
        Assert.Equal(1, _connections);
    }

    [Fact]
    public async Task An_answer_without_a_length_ends_with_the_connection()
    {
        Serve("HTTP/1.1 200 OK\r\nX: 1\r\n\r\nto the end");
        Assert.Equal("to the end", (await SendAsync()).Text);
    }

    [Fact]
    public async Task An_answer_that_announces_another_is_passed_over_and_one_without_a_body_has_none()
    {
        Serve("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        var answer = await SendAsync();
        Assert.Equal((204, 0), (answer.Status, answer.Body.Length));
    }

    [Fact]
    public async Task An_answer_larger_than_the_buffer_is_read_whole()
    {
        Serve($"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{new string('x', 300_000)}");
        Assert.Equal(300_000, (await SendAsync()).Body.Length);
    }

    [Fact]
    public async Task A_connection_that_is_to_be_closed_is_not_used_again()
    {
        Serve("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", repeat: 2);
        await SendAsync();
        await SendAsync();
        Assert.Equal(2, _connections);
    }

    [Fact]
    public async Task An_answer_stays_as_it_was_when_the_connection_is_used_again()
    {
        Serve(["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"], perRequest: true);
        var first = await SendAsync();
        var second = await SendAsync();
        Assert.Equal(("a", "b"), (first.Text, second.Text));
    }

    [Theory]
    [InlineData("")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Len")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")]
    public async Task An_answer_that_breaks_off_is_no_answer_and_its_outcome_unknown(string text)
    {
        Serve(text);
        var answer = await SendAsync();
        Assert.Equal((0, WireFailure.Broken, true), (answer.Status, answer.Failure, answer.IsUnknown));
    }

    [Theory]
    [InlineData("SSH-2.0-x\r\n\r\n")]
    [InlineData("HTTP/1.1 abc\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")]
    public async Task What_is_no_answer_is_told_as_such(string text)
    {
        Serve(text);
        Assert.Equal(WireFailure.Malformed, (await SendAsync()).Failure);
    }

    [Fact]
    public async Task An_answer_that_does_not_come_in_time_is_given_up_and_its_connection_too()
    {
        Serve([null!, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], perRequest: true);
        await _wire.ConnectAsync(1, CancellationToken.None);
        var answer = await SendAsync(TimeSpan.FromMilliseconds(100));
        Assert.Equal((0, WireFailure.TimedOut, true), (answer.Status, answer.Failure, answer.IsUnknown));
        Assert.Equal(200, (await SendAsync()).Status);
        Assert.Equal(2, _connections);
    }

    [Fact]
    public async Task An_answer_that_nobody_waits_for_any_more_is_given_up()
    {
        Serve([null!], perRequest: true);
        await _wire.ConnectAsync(1, CancellationToken.None);
        using var cancel = new CancellationTokenSource();
        var sent = _wire.SendAsync(Request, Patience, cancel.Token);
        await cancel.CancelAsync();
        Assert.Equal(WireFailure.Cancelled, (await sent).Failure);
    }

    [Fact]
    public async Task What_waits_too_long_for_a_connection_was_not_sent()
    {
        Serve([null!], perRequest: true);
        await _wire.ConnectAsync(2, CancellationToken.None);
        var busy = new[] { SendAsync(), SendAsync() };
        var answer = await SendAsync(TimeSpan.FromMilliseconds(100));
        Assert.Equal((WireFailure.NotSent, false), (answer.Failure, answer.IsUnknown));
        await _wire.DisposeAsync();
        Assert.All(await Task.WhenAll(busy), lost => Assert.Equal(WireFailure.Broken, lost.Failure));
    }

    [Fact]
    public async Task Where_nobody_listens_nothing_was_sent()
    {
        _listener.Stop();
        Assert.Equal(WireFailure.NotSent, (await SendAsync()).Failure);
        await Assert.ThrowsAsync<SocketException>(() => _wire.ConnectAsync(1, CancellationToken.None));
    }

    [Fact]
    public void An_address_that_is_not_plain_http_is_refused() => Assert.Throws<ArgumentException>(() => new HttpWire(new Uri("https://example.org"), 1));

    private Task<WireAnswer> SendAsync(TimeSpan? timeout = null) => _wire.SendAsync(Request, timeout ?? Patience, CancellationToken.None).AsTask();

    private void Serve(string answer, int repeat = 1) => Serve([answer], repeat);

    // Each connection answers the given number of requests with all the pieces (or the n-th request of all with the
    // n-th piece), and is then closed. A piece that is null never comes.
    private void Serve(string[] pieces, int repeat = 1, bool perRequest = false) => _ = Task.Run(async () =>
    {
        var requests = 0;
        while (true)
        {
            var socket = await _listener.AcceptSocketAsync();
            Interlocked.Increment(ref _connections);
            lock (_sockets) _sockets.Add(socket);
            _ = Task.Run(async () =>
            {
                using var connection = socket;
                var buffer = new byte[4_096];
                for (var i = 0; perRequest || i < repeat; i++)
                {
                    if (await connection.ReceiveAsync(buffer) == 0) return;
                    var answers = perRequest ? [pieces[Math.Min(Interlocked.Increment(ref requests), pieces.Length) - 1]] : pieces;
                    foreach (var piece in answers)
                    {
                        if (piece is null) await _never.Task;
                        await connection.SendAsync(Encoding.ASCII.GetBytes(piece!));
                        // The pause lets each piece go out alone.
                        if (pieces.Length > 1) await Task.Delay(5);
                    }
                }
            });
        }
    });
}
