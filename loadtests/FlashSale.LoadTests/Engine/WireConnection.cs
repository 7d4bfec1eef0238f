using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// One connection of a <see cref="HttpWire"/>. It carries one exchange at a time, and it is made anew after it broke.
/// </summary>
internal sealed class WireConnection(Uri address) : IDisposable
{
    private const int LargestAnswer = 64 << 20;
    private const long Idle = 0;
    private const long GivenUp = -1;

    private byte[] _buffer = new byte[4_096];
    private Socket? _socket;
    private CancellationToken _cancel;
    private volatile bool _isDisposed;

    // The end of the exchange's time, in Stopwatch ticks. The exchange changes it when it is done, the sweeper when the
    // exchange is late. The first to change it decides.
    private long _deadline;

    public async Task ConnectAsync(CancellationToken cancel)
    {
        if (_socket is not null) return;
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (IPAddress.TryParse(address.Host, out var ip)) await socket.ConnectAsync(ip, address.Port, cancel);
            else await socket.ConnectAsync(address.Host, address.Port, cancel);
            _socket = socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public async ValueTask<WireAnswer> ExchangeAsync(ReadOnlyMemory<byte> request, long deadline, CancellationToken cancel)
    {
        if (_socket is null && !await ConnectedAsync(deadline, cancel)) return WireAnswer.None(WireFailure.NotSent);
        var socket = _socket!;
        _cancel = cancel;
        Volatile.Write(ref _deadline, deadline);
        // After the disposal the sweeper no longer looks for late exchanges, so this one must end here.
        if (_isDisposed) socket.Dispose();
        var (answer, goesOn) = (WireAnswer.None(WireFailure.Broken), false);
        try
        {
            for (var sent = 0; sent < request.Length;) sent += await socket.SendAsync(request[sent..], SocketFlags.None, CancellationToken.None);
            (answer, goesOn) = await ReadAsync(socket);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The failure is returned below, under its cause.
        }
        catch (FormatException)
        {
            answer = WireAnswer.None(WireFailure.Malformed);
        }
        var late = Interlocked.Exchange(ref _deadline, Idle) == GivenUp;
        if (late || !goesOn) Close();
        if (late && answer.Status == 0) return WireAnswer.None(cancel.IsCancellationRequested ? WireFailure.Cancelled : WireFailure.TimedOut);
        return answer;
    }

    public void GiveUpWhenLate(long now)
    {
        var deadline = Volatile.Read(ref _deadline);
        if (deadline is Idle or GivenUp || (now < deadline && !_cancel.IsCancellationRequested)) return;
        var socket = _socket;
        if (Interlocked.CompareExchange(ref _deadline, GivenUp, deadline) == deadline) socket?.Dispose();
    }

    /// <summary>Closes the connection for good. An exchange under way gets no answer.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _socket?.Dispose();
    }

    private void Close()
    {
        _socket?.Dispose();
        _socket = null;
    }

    private async Task<bool> ConnectedAsync(long deadline, CancellationToken cancel)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        late.CancelAfter(TimeSpan.FromSeconds(Math.Max(0, (double)(deadline - Stopwatch.GetTimestamp()) / Stopwatch.Frequency)));
        try
        {
            await ConnectAsync(late.Token);
            return true;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    // Returns the answer, and whether the connection can be used again.
    private async ValueTask<(WireAnswer Answer, bool GoesOn)> ReadAsync(Socket socket)
    {
        for (var received = 0; ;)
        {
            if (received == _buffer.Length) Grow();
            var more = await socket.ReceiveAsync(_buffer.AsMemory(received), SocketFlags.None);
            if (more == 0) return AtEnd(received);
            received += more;
            if (Parse(_buffer.AsSpan(0, received), out var answer, out var goesOn, out var length))
            {
                if (answer.Status >= 200) return (answer, goesOn && received == length);
                // Answers such as 100 Continue only announce the real one.
                received -= length;
                _buffer.AsSpan(length, received).CopyTo(_buffer);
            }
        }
    }

    private void Grow()
    {
        if (_buffer.Length >= LargestAnswer) throw new FormatException("An answer is too large.");
        Array.Resize(ref _buffer, _buffer.Length * 4);
    }

    // The other side ended the connection. The answer is whole only if the end of the connection marks the end of its
    // body.
    private (WireAnswer Answer, bool GoesOn) AtEnd(int received)
    {
        var text = _buffer.AsSpan(0, received);
        var head = text.IndexOf("\r\n\r\n"u8);
        if (head < 0) return (WireAnswer.None(WireFailure.Broken), false);
        var fields = Fields.Of(text[..head]);
        if (fields.Length >= 0 || fields.IsChunked) return (WireAnswer.None(WireFailure.Broken), false);
        var bytes = text.ToArray();
        return (new WireAnswer(fields.Status, bytes.AsMemory(head + 4), bytes.AsMemory(0, head), WireFailure.None), false);
    }

    // Returns false when more bytes must come.
    private static bool Parse(ReadOnlySpan<byte> text, out WireAnswer answer, out bool goesOn, out int length)
    {
        (answer, goesOn, length) = (default, false, 0);
        var head = text.IndexOf("\r\n\r\n"u8);
        if (head < 0) return false;
        var fields = Fields.Of(text[..head]);
        goesOn = !fields.Closes;
        var bodyAt = head + 4;
        if (fields.IsChunked)
        {
            if (!Chunks.TryRead(text[bodyAt..], out var body, out var consumed)) return false;
            length = bodyAt + consumed;
            answer = new WireAnswer(fields.Status, body, text[..head].ToArray(), WireFailure.None);
            return true;
        }
        var bodyLength = fields.Status is < 200 or 204 or 304 ? 0 : fields.Length;
        // Without a length, the end of the connection marks the end of the body.
        if (bodyLength < 0 || text.Length < bodyAt + bodyLength) return false;
        length = bodyAt + bodyLength;
        var bytes = text[..length].ToArray();
        answer = new WireAnswer(fields.Status, bytes.AsMemory(bodyAt), bytes.AsMemory(0, head), WireFailure.None);
        return true;
    }

    private readonly record struct Fields(int Status, int Length, bool IsChunked, bool Closes)
    {
        public static Fields Of(ReadOnlySpan<byte> head)
        {
            if (head.Length < 12 || !head.StartsWith("HTTP/1."u8) || !Utf8Parser.TryParse(head[9..12], out int status, out var digits) || digits != 3) throw new FormatException("No answer of HTTP/1.1.");
            var (length, chunked, closes) = (-1, false, head[7] == '0');
            while (head.IndexOf("\r\n"u8) is var end and >= 0)
            {
                head = head[(end + 2)..];
                if (Is(head, "content-length:"u8, out var value))
                {
                    if (!Utf8Parser.TryParse(value, out length, out var used) || used != value.Length || length < 0) throw new FormatException("No length.");
                }
                else if (Is(head, "transfer-encoding:"u8, out value)) chunked = Ascii.EqualsIgnoreCase(value, "chunked"u8);
                else if (Is(head, "connection:"u8, out value)) closes |= Ascii.EqualsIgnoreCase(value, "close"u8);
            }
            return new Fields(status, length, chunked, closes);
        }

        private static bool Is(ReadOnlySpan<byte> line, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
        {
            value = default;
            if (line.Length < name.Length || (line[0] | 0x20) != name[0] || !Ascii.EqualsIgnoreCase(line[..name.Length], name)) return false;
            value = line[name.Length..];
            var end = value.IndexOf("\r\n"u8);
            value = value[..(end < 0 ? value.Length : end)].Trim((byte)' ');
            return true;
        }
    }

    private static class Chunks
    {
        // Returns false when more bytes must come.
        public static bool TryRead(ReadOnlySpan<byte> text, out byte[] body, out int consumed)
        {
            var pieces = new List<byte>(text.Length);
            (body, consumed) = ([], 0);
            while (true)
            {
                var rest = text[consumed..];
                var end = rest.IndexOf("\r\n"u8);
                if (end < 0) return false;
                var size = rest[..end];
                var extension = size.IndexOf((byte)';');
                if (!Utf8Parser.TryParse(size[..(extension < 0 ? size.Length : extension)], out int length, out _, 'x') || length < 0) throw new FormatException("No chunk.");
                if (length == 0)
                {
                    // The reader skips trailing fields.
                    var trailer = rest[end..].IndexOf("\r\n\r\n"u8);
                    if (trailer < 0) return false;
                    consumed += end + trailer + 4;
                    body = [.. pieces];
                    return true;
                }
                if (rest.Length < end + 2 + length + 2) return false;
                pieces.AddRange(rest.Slice(end + 2, length));
                consumed += end + 2 + length + 2;
            }
        }
    }
}
