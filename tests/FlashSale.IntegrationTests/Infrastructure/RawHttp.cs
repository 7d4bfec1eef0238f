using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Sends requests byte by byte that no proper client would send.</summary>
public static class RawHttp
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    /// <summary>Posts JSON with a good token.</summary>
    /// <param name="port">A port of the loopback address.</param>
    /// <param name="path">The path as it is written in the request.</param>
    /// <param name="headers">Further header lines, each ending with CR LF.</param>
    /// <param name="body">The JSON text.</param>
    public static Task<Answer> PostAsync(int port, string path, string headers, string body) => SendAsync(port, Request("POST", path, headers, body));

    public static string Request(string method, string path, string headers, string? body) =>
        $"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {Tokens.For("nobody")}\r\n{headers}"
        + (body is null ? "\r\n" : $"Content-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}");

    /// <summary>Sends bytes and reads until the server closes.</summary>
    public static async Task<Answer> SendAsync(int port, string request)
    {
        var clock = Stopwatch.StartNew();
        using var timeout = new CancellationTokenSource(Deadline);
        using var connection = new TcpClient();
        await connection.ConnectAsync("127.0.0.1", port, timeout.Token);
        var stream = connection.GetStream();
        await stream.WriteAsync(Encoding.UTF8.GetBytes(request), timeout.Token);
        using var received = new MemoryStream();
        try
        {
            await stream.CopyToAsync(received, timeout.Token);
        }
        catch (IOException) when (received.Length > 0)
        {
            // A server that answers before it has read everything resets the connection after the answer.
        }
        return Parse(received.ToArray(), clock.Elapsed);
    }

    /// <summary>Reads an answer. The status is 0 when the bytes hold no answer.</summary>
    public static Answer Parse(byte[] received, TimeSpan took)
    {
        var end = received.AsSpan().IndexOf("\r\n\r\n"u8);
        if (end < 0) return new Answer(0, new Dictionary<string, string>(), received, took);
        var lines = Encoding.Latin1.GetString(received, 0, end).Split("\r\n");
        var headers = lines.Skip(1).Select(line => line.Split(':', 2)).ToDictionary(pair => pair[0].ToLowerInvariant(), pair => pair[1].Trim(), StringComparer.Ordinal);
        var body = received[(end + 4)..];
        if (headers.GetValueOrDefault("transfer-encoding") == "chunked") body = Unchunk(body);
        return new Answer(int.Parse(lines[0].Split(' ')[1], CultureInfo.InvariantCulture), headers, body, took);
    }

    private static byte[] Unchunk(byte[] chunked)
    {
        using var body = new MemoryStream();
        for (var rest = chunked.AsSpan(); ;)
        {
            var line = rest.IndexOf("\r\n"u8);
            if (line < 0) return body.ToArray();
            var length = int.Parse(Encoding.ASCII.GetString(rest[..line]), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            if (length == 0) return body.ToArray();
            body.Write(rest.Slice(line + 2, length));
            rest = rest[(line + 2 + length + 2)..];
        }
    }
}
