using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>A host with short limits, so that tests see them pass.</summary>
public sealed class Impatient() : StackFixture(new StackOptions
{
    Settings = { ["Transport__HeadersTimeoutSeconds"] = "2", ["Transport__RateGraceSeconds"] = "2", ["Transport__KeepAliveSeconds"] = "4" },
});

/// <summary>
/// Clients that hold connections and send almost nothing (Slowloris) are cut off in time, and nobody else notices them.
/// </summary>
public sealed class SlowClientTests(Impatient fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<Impatient>
{
    private const int Clients = 400;

    // The server looks at its connections once a second. The rest is for a busy test machine.
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Headers_that_trickle_in_are_cut_off_while_others_buy()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        var answers = await AttackAsync(sale, _ => $"POST {sale.OrdersPath} HTTP/1.1\r\nHost: x\r\nX-Slow: ", (byte)'a');
        Assert.All(answers, answer =>
        {
            Refusal.AssertIs(408, "request_timeout", answer);
            Assert.InRange(answer.Took, TimeSpan.FromSeconds(1.5), TimeSpan.FromSeconds(2) + Slack);
        });
    }

    [Fact]
    public async Task Bodies_that_trickle_in_are_cut_off_while_others_buy()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        var answers = await AttackAsync(sale, number =>
            $"POST {sale.OrdersPath} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {Tokens.For($"slow-{number}")}\r\nIdempotency-Key: slow\r\n"
            + "Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n{", (byte)' ');
        Assert.All(answers, answer =>
        {
            Refusal.AssertIs(408, "request_timeout", answer);
            Assert.InRange(answer.Took, TimeSpan.FromSeconds(1.5), TimeSpan.FromSeconds(2) + Slack);
        });
    }

    [Fact]
    public async Task Connections_that_stay_idle_are_closed_while_others_buy()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        var answers = await AttackAsync(sale, _ => "", null);
        Assert.All(answers, answer => Assert.InRange(answer.Took, TimeSpan.FromSeconds(3.5), TimeSpan.FromSeconds(4) + Slack));
    }

    [Fact]
    public async Task A_body_that_ends_in_time_is_served()
    {
        // As a control, a body that is slow but not too slow is answered as any other.
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var head = $"POST {sale.OrdersPath} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {Tokens.For("patient")}\r\nIdempotency-Key: k\r\n"
                   + "Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"sku\":\"phone-1\",\"quantity\":1";
        var answer = await SlowClient.SendAsync(Stack.Api.Port, head, (byte)'}', Patience);
        Assert.Equal(202, answer.Status);
        sale.History.Add(new Attempt("patient", "k", sale.Sku, 1, answer));
        await Books.CheckAsync(Stack, sale);
    }

    private async Task<Answer[]> AttackAsync(Sale sale, Func<int, string> start, byte? drop)
    {
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(100);
        var memory = await Figures.OfAsync(Stack.Api, "process_resident_memory_bytes");
        var attack = Task.WhenAll(Enumerable.Range(0, Clients).Select(number => SlowClient.SendAsync(Stack.Api.Port, start(number), drop, Patience)));
        await Eventually.TrueAsync("the slow clients are there", TimeSpan.FromSeconds(10), async () => await Figures.OfAsync(Stack.Api, "flashsale_connections") > Clients);
        await load.AcceptedMoreAsync(200);
        Assert.Equal(200, (await Figures.ReadyAsync(Stack.Api)).Status);
        var grown = await Figures.OfAsync(Stack.Api, "process_resident_memory_bytes") - memory;
        Assert.False(attack.IsCompleted, "The slow clients were gone before the purchases were looked at: inconclusive.");
        var answers = await attack;
        await load.AcceptedMoreAsync(100);
        await load.StopAsync();
        Tell($"cut off after {answers.Min(answer => answer.Took).TotalSeconds:0.0} to {answers.Max(answer => answer.Took).TotalSeconds:0.0} s, {grown / 1024 / Clients:0} KB of memory each; "
             + $"slowest purchase {sale.History.Attempts.Max(attempt => attempt.Answer.Took).TotalMilliseconds:0} ms");
        Assert.InRange(grown, double.MinValue, Clients * 128.0 * 1024);
        sale.History.AssertEveryoneWasServed();
        await Books.CheckAsync(Stack, sale);
        return answers;
    }
}
