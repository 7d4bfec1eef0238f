using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>Operators change the settings of the dependencies while a host runs.</summary>
public sealed class ReloadTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Short = 300;
    private const int Long = 6_000;

    private readonly string _path = Path.Combine(Path.GetTempPath(), $"dependencies-{Guid.NewGuid():N}.json");

    public override ValueTask DisposeAsync()
    {
        File.Delete(_path);
        return base.DisposeAsync();
    }

    [Fact]
    public async Task New_settings_hold_at_once_and_wrong_ones_change_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        await WriteAsync(Timeout(Long));
        await using var api = new HostProcess("Api", Settings());
        await api.StartAsync();
        await TakesLongAsync(true);
        await WriteAsync(Timeout(Short));
        await SaysAsync("New settings of dependency postgres");
        await TakesLongAsync(false);

        // Each text has one mistake. Its timeout is valid, but must not take effect.
        var right = $"\"Postgres\":{{\"TimeoutMilliseconds\":{Long},\"Retries\":0,\"MinCalls\":1000}}";
        foreach (var (wrong, told) in ((string, string)[])
        [
            ("{\"Dependencies\":{" + right + ""","Redis":{"BreakMilliseconds":1}}}""", "Dependencies:Redis:BreakMilliseconds = '1': allowed is 500 to 60000."),
            ("{\"Dependencies\":{" + right + ""","Redis":{"BreakMilliseconds":"soon"}}}""", "soon"),
            ("{\"Dependencies\":{" + right + ""","Redis":{"BrakeMilliseconds":700}}}""", "Dependencies:Redis:BrakeMilliseconds = '700': there is no such setting."),
            ("{\"Dependencies\":{" + right + ""","Redsi":{"BreakMilliseconds":700}}}""", "Dependencies:Redsi: there is no such dependency"),
            ("{\"Dependencies\":{" + right + """},"Redis":{"BreakMilliseconds":700}}""", "Redis: there is no such section"),
            ("{\"Dependencies\":{" + right, "not a JSON object"),
        ])
        {
            await WriteAsync(wrong);
            await SaysAsync(told);
        }
        File.Delete(_path);
        await SaysAsync("Could not find file");
        await TakesLongAsync(false);

        await WriteAsync(Timeout(Long + 1_000));
        await SaysAsync("New settings of dependency postgres");
        await TakesLongAsync(true);

        // The host gives up a hanging read after the timeout in force, short or long.
        async Task TakesLongAsync(bool isLong)
        {
            await using var held = await TableLock.OfOrdersAsync(Stack.Database);
            var answer = await ReadAsync();
            Refusal.AssertIs(503, "temporarily_unavailable", answer);
            Assert.Equal(isLong, answer.Took.TotalMilliseconds >= Long);
            Assert.True(answer.Took.TotalMilliseconds >= Short);
        }

        async Task<Answer> ReadAsync()
        {
            using var http = new HttpClient();
            return await new Shopper(http, () => api.Url, "buyer").OrderAsync(order);
        }

        async Task SaysAsync(string text)
        {
            await Eventually.TrueAsync($"the host says: {text}", TimeSpan.FromSeconds(15), () => api.OutputSinceMark.Contains(text, StringComparison.Ordinal));
            api.Mark();
        }
    }

    [Theory]
    [InlineData(null, "Dependencies:File", "JSON file")]
    [InlineData("{", "Dependencies:File", "not a JSON object")]
    [InlineData("""{"Dependencies":{"Postgres":{"Retries":11}}}""", "Dependencies:Postgres:Retries", "0 to 10")]
    public async Task A_wrong_file_stops_the_host_at_start(string? text, string setting, string told)
    {
        if (text is not null) await WriteAsync(text);
        await using var process = new HostProcess("Api", Settings());
        await process.LaunchAsync();
        Assert.Equal(78, await process.ExitAsync(TimeSpan.FromSeconds(40)));
        Assert.Contains(setting, process.Output);
        Assert.Contains(told, process.Output);
    }

    private static string Timeout(int milliseconds) => $$"""{"Dependencies":{"Postgres":{"TimeoutMilliseconds":{{milliseconds}},"Retries":0,"MinCalls":1000} } }""";

    private Task WriteAsync(string text) => File.WriteAllTextAsync(_path, text);

    private Dictionary<string, string> Settings() => new(Stack.Settings(), StringComparer.Ordinal) { ["Dependencies__File"] = _path };
}
