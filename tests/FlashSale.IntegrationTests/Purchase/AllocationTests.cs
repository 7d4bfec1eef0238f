using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;
using Xunit.Abstractions;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// The budget of the hot path: bytes that the Api allocates per answer, all of Kestrel included, as the running host
/// counts them. What is allocated must be collected, and collections are what shoppers wait for at the peak.
/// </summary>
public sealed class AllocationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Purchases = 4_000;
    private const int BytesPerAcceptance = 2_500;
    private const int BytesPerSoldOut = 1_000;

    [Fact]
    public async Task An_acceptance_stays_within_its_budget()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await Crowd.AllBuyAsync(Stack, sale, users: Purchases, prefix: "warm");
        var bytes = await MeasureAsync(() => Crowd.AllBuyAsync(Stack, sale, users: Purchases, prefix: "bought"));
        Tell($"{bytes} bytes per acceptance");
        Assert.InRange(bytes, 1, BytesPerAcceptance);
    }

    [Fact]
    public async Task A_sold_out_answer_stays_within_its_budget()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        await Crowd.AllBuyAsync(Stack, sale, users: 1, prefix: "winner");
        await SoldOutAsync(sale, "warm");
        var bytes = await MeasureAsync(() => SoldOutAsync(sale, "late"));
        Tell($"{bytes} bytes per sold-out answer");
        Assert.InRange(bytes, 1, BytesPerSoldOut);
    }

    private async Task SoldOutAsync(Sale sale, string prefix)
    {
        Assert.Equal(0, await Crowd.BuyAsync(Stack, sale, users: Purchases, prefix: prefix));
        Assert.Equal(Purchases, sale.History.Attempts.Count(attempt => attempt.UserId.StartsWith(prefix, StringComparison.Ordinal) && attempt.Answer.Code == "sold_out"));
    }

    private async Task<double> MeasureAsync(Func<Task> purchases)
    {
        var before = await AllocatedAsync();
        await purchases();
        return Math.Round((await AllocatedAsync() - before) / Purchases);
    }

    private async Task<double> AllocatedAsync()
    {
        const string Name = "dotnet_gc_allocated_bytes_total ";
        using var http = new HttpClient();
        var metrics = await http.GetStringAsync(new Uri(Stack.Api.ManagementUrl, "/metrics"));
        var line = Assert.Single(metrics.Split('\n'), line => line.StartsWith(Name, StringComparison.Ordinal));
        return double.Parse(line.AsSpan(Name.Length), CultureInfo.InvariantCulture);
    }
}
