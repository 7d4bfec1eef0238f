using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;
using RunHistory = FlashSale.LoadTests.Verdicts.History;

namespace FlashSale.IntegrationTests.Runs;

/// <summary>
/// The offline checker of load and fault runs judges a real stack. It passes a good run, names each broken promise, and
/// says so when it cannot tell.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class VerdictTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(60);
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"history-{Guid.NewGuid():N}");

    private Target Target => new()
    {
        Api = Stack.Api.Url, Admin = Stack.Admin.Url, Worker = Stack.Worker.Url, AdminToken = Infrastructure.Manager.OperatorToken,
        JwtKey = Infrastructure.Tokens.Secret, JwtIssuer = Infrastructure.Tokens.Issuer, JwtAudience = Infrastructure.Tokens.Audience, JwtKid = Infrastructure.Tokens.KeyId,
        Redis = Stack.Redis.Endpoint, Postgres = Stack.Database.Url,
    };

    [Fact]
    public async Task A_run_of_buyers_is_judged_to_keep_all_promises()
    {
        using var sale = await BuyAsync(purchases: 200);
        var verdict = await CheckAsync(sale);
        Assert.Empty(verdict.Violations);
        Assert.Equal((0, true, verdict.Accepted, 0L), (verdict.ExitCode, verdict.IsConclusive, verdict.Orders, verdict.Unsettled));
        Assert.True(verdict.Accepted >= 200 && verdict.PersistedPerSecond > 0, $"{verdict}");
        await sale.CloseAsync();
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        Assert.Equal(("closed", true), await connection.QuerySingleAsync<(string, bool)>("select status, load_run from sale where sale_id = @id", new { id = sale.Id }));
    }

    [Theory]
    [InlineData("I3", "delete from orders where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    [InlineData("I4", "update user_quota set units = 0 where sale_id = @id")]
    [InlineData("I6", "update orders set paid_at = now() where order_id = (select order_id from orders where sale_id = @id limit 1)")]
    public async Task What_is_broken_afterwards_is_named(string promise, string violation)
    {
        using var sale = await BuyAsync(purchases: 20);
        Assert.Equal(0, (await CheckAsync(sale)).ExitCode);
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync(violation, new { id = sale.Id });
        var verdict = await CheckAsync(sale);
        Assert.Equal(1, verdict.ExitCode);
        Assert.Contains(verdict.Violations, line => line.StartsWith(promise + ": ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_reservation_that_left_the_outbox_and_never_arrived_is_found_although_the_sale_never_comes_to_rest()
    {
        using var sale = await OpenAsync();
        await Stack.Worker.KillAsync();
        await BuyAsync(sale, purchases: 50);
        await Stack.Redis.Client.CallAsync("DEL", BooksView.RedisPrefix(sale.Id) + "outbox");
        await Stack.Worker.StartAsync();
        var verdict = await CheckAsync(sale);
        Assert.Equal(1, verdict.ExitCode);
        Assert.Equal(verdict.Accepted, verdict.ViolationCounts["I3"]);
        Assert.Contains(verdict.Violations, line => line.StartsWith("I2: ", StringComparison.Ordinal) && line.Contains("the outbox is empty", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_run_that_is_not_at_rest_says_nothing_until_it_is()
    {
        using var sale = await OpenAsync();
        await Stack.Worker.KillAsync();
        await BuyAsync(sale, purchases: 50);
        var early = await Verdict.CheckAsync(Target, sale, _path, Loss.None, TimeSpan.FromSeconds(1), CancellationToken.None);
        Assert.Equal((2, false), (early.ExitCode, early.IsConclusive));
        Assert.Contains("no rest within 1 s", early.WhyNot, StringComparison.Ordinal);
        await Stack.Worker.StartAsync();
        Assert.Equal(0, (await CheckAsync(sale)).ExitCode);
    }

    public override ValueTask DisposeAsync()
    {
        File.Delete(_path);
        return base.DisposeAsync();
    }

    private Task<LoadSale> OpenAsync() => LoadSale.OpenAsync(Target, "Load run of a test", [new LoadItem("load-1", 100_000), new LoadItem("load-2", 100_000)]);

    private async Task<LoadSale> BuyAsync(int purchases)
    {
        var sale = await OpenAsync();
        await BuyAsync(sale, purchases);
        return sale;
    }

    private async Task BuyAsync(LoadSale sale, int purchases)
    {
        await using var history = RunHistory.Create(_path);
        await using var buyers = new Buyers(Target, sale, history);
        await buyers.AcceptedMoreAsync(purchases, TimeSpan.FromSeconds(30));
        await buyers.StopAsync();
    }

    private Task<VerdictResult> CheckAsync(LoadSale sale) => Verdict.CheckAsync(Target, sale, _path, Loss.None, Rest, CancellationToken.None);
}
