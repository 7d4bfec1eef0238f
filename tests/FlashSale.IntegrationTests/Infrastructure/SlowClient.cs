using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// A client that begins a request and then sends a byte now and then, as long as the server accepts it.
/// </summary>
public static class SlowClient
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    /// <summary>Sends until the server closes the connection.</summary>
    /// <param name="port">A port of the loopback address.</param>
    /// <param name="start">The text that is sent at once. It is empty for an idle connection.</param>
    /// <param name="drop">The byte that follows again and again, or null to send nothing more.</param>
    /// <param name="patience">If the server has not closed by then, the answer's status is -1.</param>
    /// <returns>The answer of the server, and the time until it closed.</returns>
    public static async Task<Answer> SendAsync(int port, string start, byte? drop, TimeSpan patience)
    {
        using var connection = new TcpClient();
        await connection.ConnectAsync("127.0.0.1", port);
        var clock = Stopwatch.StartNew();
        var stream = connection.GetStream();
        using var received = new MemoryStream();
        using var closed = new CancellationTokenSource(patience);
        var reading = ReadAsync(stream, received, closed);
        try
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes(start));
            while (!closed.IsCancellationRequested)
            {
                await Task.Delay(Interval, closed.Token);
                if (drop is { } one) await stream.WriteAsync(new[] { one }, closed.Token);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The server has closed, or the patience is over.
        }
        return await reading ? RawHttp.Parse(received.ToArray(), clock.Elapsed) : new Answer(-1, new Dictionary<string, string>(), [], clock.Elapsed);
    }

    private static async Task<bool> ReadAsync(NetworkStream stream, MemoryStream received, CancellationTokenSource closed)
    {
        try
        {
            await stream.CopyToAsync(received, closed.Token);
        }
        catch (IOException)
        {
            // The server has reset the connection, which closes it as well.
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        await closed.CancelAsync();
        return true;
    }
}
