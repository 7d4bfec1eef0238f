using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FlashSale.LoadTests;

/// <summary>
/// More shoppers than a node can serve. Each connection is a shopper who comes by a Poisson clock and waits for the answer;
/// whoever is still waiting when they would come again comes as soon as they have it, as browsers do.
/// </summary>
public sealed class Overload(Uri url, string path, string sku, string tokens, int connections)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly string[] _tokens = File.ReadAllLines(tokens);
    private int _next;

    /// <summary>Runs one stage, and tells how it went as KEY=value pairs.</summary>
    /// <param name="rate">Purchases a second that the shoppers mean to send.</param>
    /// <param name="duration">How long.</param>
    public async Task<string> RunAsync(double rate, TimeSpan duration)
    {
        var stage = new Stage(rate / connections, duration);
        var sockets = await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => ConnectAsync()));
        stage.Clock.Start();
        // One clock for all: what has no answer by then has none.
        await using (new Timer(_ => { foreach (var socket in sockets) socket.Dispose(); }, null, duration + Patience, Timeout.InfiniteTimeSpan))
            await Task.WhenAll(sockets.Select(socket => ShopAsync(socket, stage)));
        return stage.ToString();
    }

    private async Task<Socket> ConnectAsync()
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Parse(url.Host), url.Port);
        return socket;
    }

    private async Task ShopAsync(Socket socket, Stage stage)
    {
        var random = new Random(Interlocked.Increment(ref _next));
        var buffer = new byte[4_096];
        using var shopper = socket;
        for (var due = Pause(random, stage); due < stage.Duration; due += Pause(random, stage))
        {
            if (due > stage.Clock.Elapsed) await Task.Delay(due - stage.Clock.Elapsed);
            else due = stage.Clock.Elapsed;
            if (stage.Clock.Elapsed >= stage.Duration) return;
            try
            {
                var length = Write(buffer);
                var sentAt = Stopwatch.GetTimestamp();
                await shopper.SendAsync(buffer.AsMemory(0, length));
                var status = await ReadStatusAsync(shopper, buffer);
                stage.Answered(status, Stopwatch.GetElapsedTime(sentAt));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or IOException)
            {
                stage.Failed();
                return;
            }
        }
    }

    private static TimeSpan Pause(Random random, Stage stage) => TimeSpan.FromSeconds(-Math.Log(1 - random.NextDouble()) / stage.RatePerConnection);

    private int Write(byte[] buffer)
    {
        var number = Interlocked.Increment(ref _next);
        var body = $"{{\"sku\":\"{sku}\",\"quantity\":1}}";
        return Encoding.ASCII.GetBytes(
            $"POST {path} HTTP/1.1\r\nHost: {url.Host}\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\nAuthorization: Bearer {_tokens[number % _tokens.Length]}\r\nIdempotency-Key: o-{Environment.ProcessId}-{number}\r\n\r\n{body}",
            buffer);
    }

    // Answers are small and told by their length; the next one begins after it.
    private static async ValueTask<int> ReadStatusAsync(Socket socket, byte[] buffer)
    {
        for (var received = 0; ;)
        {
            var more = await socket.ReceiveAsync(buffer.AsMemory(received));
            if (more == 0) throw new IOException("The connection was closed.");
            received += more;
            var text = buffer.AsSpan(0, received);
            var head = text.IndexOf("\r\n\r\n"u8);
            if (head < 0) continue;
            var field = text[..head].IndexOf("Content-Length: "u8);
            if (field < 0) throw new IOException("An answer has no length.");
            var digits = text[(field + 16)..head];
            var end = digits.IndexOf((byte)'\r');
            if (received < head + 4 + int.Parse(end < 0 ? digits : digits[..end])) continue;
            return int.Parse(text[9..12]);
        }
    }

    private sealed class Stage(double ratePerConnection, TimeSpan duration)
    {
        private readonly int[] _byStatus = new int[1_000];
        private readonly Latencies _accepted = new();
        private readonly Latencies _refused = new();
        private int _failed;

        public double RatePerConnection => ratePerConnection;

        public TimeSpan Duration => duration;

        public Stopwatch Clock { get; } = new();

        public void Answered(int status, TimeSpan took)
        {
            Interlocked.Increment(ref _byStatus[status]);
            (status == 202 ? _accepted : _refused).Add(took);
        }

        public void Failed() => Interlocked.Increment(ref _failed);

        public override string ToString()
        {
            var others = string.Join(',', Enumerable.Range(0, 1_000).Where(status => status != 202 && _byStatus[status] > 0).Select(status => $"{status}:{_byStatus[status]}"));
            return string.Create(null, $"accepted_rate={_byStatus[202] / duration.TotalSeconds:0} answered_rate={_byStatus.Sum() / duration.TotalSeconds:0} accepted_p50_ms={_accepted.Percentile(0.5):0.0} accepted_p99_ms={_accepted.Percentile(0.99):0.0} refused_p50_ms={_refused.Percentile(0.5):0.0} failed={_failed} others={others}");
        }
    }
}
