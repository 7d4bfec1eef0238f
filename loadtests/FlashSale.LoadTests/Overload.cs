using System.Diagnostics;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests;

/// <summary>
/// Sends more shoppers than a node can serve. Each connection is a shopper that comes by a Poisson clock and waits for
/// the answer. A shopper that still waits when it would come again comes as soon as it has the answer, as browsers do.
/// </summary>
public sealed class Overload(Uri url, string path, string sku, string tokens, int connections)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly string[] _tokens = File.ReadAllLines(tokens);
    private int _next;

    /// <summary>
    /// Runs the command <c>overload URL PATH SKU TOKENS SECONDS CONNECTIONS RATE…</c> and prints a line of figures per
    /// stage.
    /// </summary>
    /// <exception cref="UsageException">The arguments are not of this form.</exception>
    public static async Task<int> RunAsync(string[] args)
    {
        if (args is not [var url, var path, var sku, var tokens, var seconds, var connections, .. var rates] || rates.Length == 0 || !File.Exists(tokens)
            || !Uri.TryCreate(url, UriKind.Absolute, out var address) || !int.TryParse(seconds, out var each) || !int.TryParse(connections, out var shoppers) || !rates.All(rate => double.TryParse(rate, out var number) && number > 0))
            throw new UsageException("overload: URL PATH SKU TOKENS SECONDS CONNECTIONS RATE… are needed");
        var crowd = new Overload(address, path, sku, tokens, shoppers);
        foreach (var rate in rates) Console.WriteLine(await crowd.RunAsync(double.Parse(rate), TimeSpan.FromSeconds(each)));
        return ExitCode.Pass;
    }

    /// <summary>Runs one stage and returns its figures as KEY=value pairs.</summary>
    /// <param name="rate">Purchases a second that the shoppers mean to send.</param>
    /// <param name="duration">Length of the stage.</param>
    public async Task<string> RunAsync(double rate, TimeSpan duration)
    {
        var stage = new Stage(rate / connections, duration);
        await using var wire = new HttpWire(url, connections);
        await wire.ConnectAsync(connections, CancellationToken.None);
        stage.Clock.Start();
        await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => ShopAsync(wire, stage)));
        return stage.ToString();
    }

    private async Task ShopAsync(HttpWire wire, Stage stage)
    {
        var random = new Random(Interlocked.Increment(ref _next));
        for (var due = Pause(random, stage); due < stage.Duration; due += Pause(random, stage))
        {
            if (due > stage.Clock.Elapsed) await Task.Delay(due - stage.Clock.Elapsed);
            else due = stage.Clock.Elapsed;
            if (stage.Clock.Elapsed >= stage.Duration) return;
            // A request that has no answer this long after the stage counts as failed.
            var left = stage.Duration + Patience - stage.Clock.Elapsed;
            var sentAt = Stopwatch.GetTimestamp();
            var answer = await wire.SendAsync(Request(), left, CancellationToken.None);
            if (answer.Status == 0)
            {
                stage.Failed();
                return;
            }
            stage.Answered(answer.Status, Stopwatch.GetElapsedTime(sentAt));
        }
    }

    private static TimeSpan Pause(Random random, Stage stage) => TimeSpan.FromSeconds(-Math.Log(1 - random.NextDouble()) / stage.RatePerConnection);

    private byte[] Request()
    {
        var number = Interlocked.Increment(ref _next);
        return PurchaseRequest.Of(url, path, _tokens[number % _tokens.Length], $"o-{Environment.ProcessId}-{number}", sku, 1);
    }

    private sealed class Stage(double ratePerConnection, TimeSpan duration)
    {
        private readonly int[] _byStatus = new int[1_000];
        private readonly Histogram _accepted = new();
        private readonly Histogram _refused = new();
        private int _failed;

        public double RatePerConnection => ratePerConnection;

        public TimeSpan Duration => duration;

        public Stopwatch Clock { get; } = new();

        public void Answered(int status, TimeSpan took)
        {
            Interlocked.Increment(ref _byStatus[status]);
            (status == 202 ? _accepted : _refused).Add((long)took.TotalMicroseconds);
        }

        public void Failed() => Interlocked.Increment(ref _failed);

        public override string ToString()
        {
            var others = string.Join(',', Enumerable.Range(0, 1_000).Where(status => status != 202 && _byStatus[status] > 0).Select(status => $"{status}:{_byStatus[status]}"));
            return string.Create(null, $"accepted_rate={_byStatus[202] / duration.TotalSeconds:0} answered_rate={_byStatus.Sum() / duration.TotalSeconds:0} accepted_p50_ms={Ms(_accepted, 0.5)} accepted_p99_ms={Ms(_accepted, 0.99)} refused_p50_ms={Ms(_refused, 0.5)} failed={_failed} others={others}");
        }

        private static string Ms(Histogram microseconds, double share) => $"{microseconds.Percentile(share) / 1e3:0.0}";
    }
}
