using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>A stack with servers of its own, which tests may take down, and a payment provider.</summary>
public sealed class AllOwn() : StackFixture(new StackOptions
{
    OwnPostgres = true, OwnRabbitMq = true, Payments = true, ProductionDeadlines = true, Settings = { ["Dependencies__Payments__BreakMilliseconds"] = "1000" },
});

/// <summary>
/// The breaker of each dependency opens when the dependency is gone, shows it, keeps the host ready, and closes when
/// the dependency is back.
/// </summary>
public sealed class BreakerTests(AllOwn fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<AllOwn>
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Redis_gone_and_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await ShowsAsync(Stack.Api, "redis", "closed", () => BuyAsync(sale));
        await Stack.Redis.KillAsync();
        await ShowsAsync(Stack.Api, "redis", "open", () => BuyAsync(sale));
        await Eventually.TrueAsync("refusals are counted", Deadline, async () =>
        {
            await BuyAsync(sale);
            return await Figures.OfAsync(Stack.Api, "flashsale_dependency_rejections_total{dependency=\"redis\",reason=\"open\"}") > 0;
        });
        await Stack.Redis.StartAsync();
        await ShowsAsync(Stack.Api, "redis", "closed", () => BuyAsync(sale));
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Postgres_gone_and_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        await ShowsAsync(Stack.Api, "postgres", "closed", () => Stack.Shopper("buyer").OrderAsync(order));
        await Stack.Postgres!.StopAsync();
        await ShowsAsync(Stack.Api, "postgres", "open", () => Stack.Shopper("buyer").OrderAsync(order));
        var refused = Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("buyer").OrderAsync(order));
        Assert.InRange(refused.Took, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("buyer").MyOrdersAsync());
        await Stack.StartPostgresAsync();
        await ShowsAsync(Stack.Api, "postgres", "closed", () => Stack.Shopper("buyer").OrderAsync(order));
        await Eventually.GetAsync("the order is readable", Deadline, () => Stack.Shopper("buyer").OrderAsync(order), answer => answer.Status == 200);
    }

    [Fact]
    public async Task The_broker_gone_and_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: 200);
        await Books.CheckAsync(Stack, sale);
        // A cancelled order is an event in Postgres, so the worker must call the broker without any other help.
        var orders = new Queue<Attempt>(sale.History.Accepted);
        await ShowsAsync(Stack.Worker, "rabbitmq", "closed", CancelNextAsync);
        await Stack.RabbitMq!.KillAsync();
        try
        {
            await ShowsAsync(Stack.Worker, "rabbitmq", "open", CancelNextAsync);
        }
        finally
        {
            await Stack.RabbitMq.StartAsync();
        }
        await ShowsAsync(Stack.Worker, "rabbitmq", "closed", CancelNextAsync);
        await Books.CheckAsync(Stack, sale);

        async Task CancelNextAsync()
        {
            if (orders.TryDequeue(out var bought)) Assert.Equal(200, (await Stack.Shopper(bought.UserId).CancelAsync(bought.Answer.OrderId)).Status);
        }
    }

    [Fact]
    public async Task The_payment_provider_gone_and_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        await Stack.Sandbox.KillAsync();
        await ShowsAsync(Stack.Api, "payments", "open", PayAsync);
        Refusal.AssertIs(503, "temporarily_unavailable", await PayAsync());
        Assert.True(await Figures.OfAsync(Stack.Api, "flashsale_dependency_retries_total{dependency=\"payments\"}") > 0);
        await Stack.Sandbox.StartAsync();
        await ShowsAsync(Stack.Api, "payments", "closed", PayAsync);
        Assert.Equal(200, (await PayAsync()).Status);

        Task<Answer> PayAsync() => Stack.Shopper("buyer").SendAsync(HttpMethod.Post, $"/api/v1/orders/{order}/payment");
    }

    // The host stays ready in every state of its breakers. The calls open and close them.
    private static async Task ShowsAsync(HostProcess host, string dependency, string state, Func<Task> call)
    {
        var page = await Eventually.GetAsync($"{dependency} is {state}", Deadline, async () =>
        {
            await call();
            return await Figures.ReadyAsync(host);
        }, page => page.Text.Split('\n').Any(line => line.StartsWith($"dependency {dependency}: ", StringComparison.Ordinal) && line.EndsWith($"(breaker {state})", StringComparison.Ordinal)));
        Assert.Equal(200, page.Status);
        Assert.StartsWith("ready\n", page.Text);
        if (state == "closed") Assert.Equal(0, await Figures.OfAsync(host, $"flashsale_dependency_state{{dependency=\"{dependency}\"}}"));
        // Polly tells of an opening a moment after the breaker is open.
        else await Eventually.TrueAsync("the opening is counted", Deadline, async () => await Figures.OfAsync(host, $"flashsale_dependency_breaker_openings_total{{dependency=\"{dependency}\"}}") > 0);
    }

    private Task<Answer> BuyAsync(Sale sale) => Stack.Shopper($"user-{Guid.NewGuid():N}").BuyAsync(sale);
}
