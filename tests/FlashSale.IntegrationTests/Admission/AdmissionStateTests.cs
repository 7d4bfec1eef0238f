using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admission;

/// <summary>The state of a sale decides when it admits shoppers, and its rate decides how fast.</summary>
public sealed class AdmissionStateTests(TwoApis fixture, ITestOutputHelper output) : AdmissionTest(fixture, output), IClassFixture<TwoApis>
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(3);

    [Fact]
    public async Task Before_the_opening_a_shopper_is_told_how_long_it_takes()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)], opensIn: TimeSpan.FromSeconds(100), requiresTicket: true);
        await Stack.Manager.PreloadAsync(id);
        await Stack.StatusOnEveryNodeAsync(id, "scheduled");
        for (var node = 0; node < 2; node++)
        {
            var early = Refusal.AssertIs(425, "sale_not_open", await Stack.Shopper("u", node).AdmitAsync(id));
            Assert.InRange(int.Parse(early.Header("retry-after")!), 60, 100);
        }
    }

    [Fact]
    public async Task At_the_opening_by_redis_time_and_not_sooner_tickets_are_given()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)], opensIn: TimeSpan.FromSeconds(3));
        await Stack.Manager.PreloadAsync(id);
        await Stack.StatusOnEveryNodeAsync(id, "scheduled");
        var opensAt = DateTimeOffset.Parse((await Stack.Shopper("u").GetAsync($"/api/v1/sales/{id}")).Member("opensAt")!).ToUnixTimeMilliseconds();
        var first = await Eventually.GetAsync("a ticket is given", TimeSpan.FromSeconds(20), () => Stack.Shopper("u").AdmitAsync(id), answer =>
        {
            if (answer.Status != 200) Refusal.AssertIs(425, "sale_not_open", answer);
            return answer.Status == 200;
        });
        Assert.InRange(GivenAt(first) - opensAt, 0, 10_000);
    }

    [Fact]
    public async Task A_sale_that_is_paused_closed_unknown_or_a_draft_gives_none()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        await Stack.Manager.PauseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("u").AdmitAsync(sale.Id));
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        for (var node = 0; node < 2; node++) Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("u", node).AdmitAsync(sale.Id));
        await Stack.Manager.ResumeAsync(sale.Id);
        Assert.Equal(200, (await Stack.Shopper("u").AdmitAsync(sale.Id)).Status);
        await Stack.Manager.CloseAsync(sale.Id);
        Refusal.AssertIs(409, "sale_closed", await Stack.Shopper("u").AdmitAsync(sale.Id));
        await Stack.StatusOnEveryNodeAsync(sale.Id, "closed");
        for (var node = 0; node < 2; node++) Refusal.AssertIs(409, "sale_closed", await Stack.Shopper("u", node).AdmitAsync(sale.Id));

        Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("u").AdmitAsync(await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)])));
        Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("u").AdmitAsync("no-such-sale"));
    }

    [Fact]
    public async Task With_redis_frozen_admission_is_refused_in_time_and_given_again_after()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        Stack.Redis.Freeze();
        try
        {
            for (var i = 0; i < 8; i++) Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("u", i % 2).AdmitAsync(sale.Id));
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        for (var node = 0; node < 2; node++)
            await Eventually.GetAsync($"node {node} admits again", TimeSpan.FromSeconds(20), () => Stack.Shopper("u", node).AdmitAsync(sale.Id), answer => answer.Status == 200);
    }

    [Fact]
    public async Task Two_nodes_together_admit_a_hundred_a_second()
    {
        const int Rate = 100, Seconds = 10;
        const double Depth = 0.11;   // The bucket holds this much, in seconds of its rate.
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, admissionPerSecond: Rate);
        var given = new System.Collections.Concurrent.ConcurrentBag<long>();
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(async () =>
        {
            for (var asked = 0; clock.Elapsed < TimeSpan.FromSeconds(Seconds + 2); asked++)
            {
                // Each user asks once, since a user that has a ticket gets the same ticket again.
                var answer = await Stack.Shopper($"user-{i}-{asked}", i % 2).AdmitAsync(sale.Id);
                if (answer.Status == 200) given.Add(GivenAt(answer));
                else Assert.InRange(int.Parse(Refusal.AssertIs(429, "rate_limited", answer).Header("retry-after")!), 1, 3);
                await Task.Delay(Pause);
            }
        })));

        // Count by the clock of Redis, without the first second, in which the full bucket gave more than its rate.
        var start = given.Min() + 1_000;
        var times = given.Where(at => at >= start && at < start + Seconds * 1_000).Order().ToArray();
        // In a gap longer than the depth of the bucket nobody asked, because this machine stalled. The bucket was full,
        // so the admissions of that time are lost.
        var stalled = times.Zip(times.Skip(1), (a, b) => Math.Max(0, (b - a) / 1_000.0 - Depth)).Sum();
        Tell($"{times.Length} admitted in {Seconds} s, {stalled:0.000} s of it stalled");
        Assert.InRange(stalled, 0, Seconds / 4.0);
        Assert.InRange(times.Length, Rate * (Seconds - stalled) * 0.95, Rate * Seconds * 1.05);
        await Eventually.TrueAsync("the bucket is full and forgotten", TimeSpan.FromSeconds(5), async () => await Stack.Redis.Client.NumberAsync("EXISTS", $"{sale.RedisPrefix}admission") == 0);
    }

    [Fact]
    public async Task Beyond_the_rate_a_shopper_is_told_when_to_come_again_and_is_admitted_then()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, admissionPerSecond: 1);
        Assert.Equal(200, (await Stack.Shopper("a").AdmitAsync(sale.Id)).Status);
        var refused = Refusal.AssertIs(429, "rate_limited", await Stack.Shopper("b", node: 1).AdmitAsync(sale.Id));
        var wait = TimeSpan.FromSeconds(int.Parse(refused.Header("retry-after")!));
        var took = await Eventually.TrueAsync("b is admitted", TimeSpan.FromSeconds(20), async () => (await Stack.Shopper("b", node: 1).AdmitAsync(sale.Id)).Status == 200);
        Assert.InRange(took, TimeSpan.Zero, wait + TimeSpan.FromSeconds(2));
    }

    [Fact]
    public async Task A_bucket_from_a_time_to_come_fills_again_after_redis_clock_was_set_back()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, admissionPerSecond: 10);
        await Stack.Redis.Client.CallAsync("HSET", $"{sale.RedisPrefix}admission", "tokens", 0, "at", (await RedisNowAsync() + 3_600_000) * 1_000);
        Refusal.AssertIs(429, "rate_limited", await Stack.Shopper("u").AdmitAsync(sale.Id));
        await Eventually.TrueAsync("u is admitted", TimeSpan.FromSeconds(5), async () => (await Stack.Shopper("u").AdmitAsync(sale.Id)).Status == 200);
    }

    [Fact]
    public async Task The_endpoint_is_described()
    {
        var document = (await Stack.Shopper("anyone").GetAsync("/openapi/v1.json")).Json.GetProperty("paths");
        var admission = document.GetProperty("/api/v1/sales/{saleId}/admission").GetProperty("post");
        Assert.Equal(["200", "400", "401", "403", "404", "409", "413", "415", "425", "429", "503"], admission.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        Assert.True(admission.TryGetProperty("security", out _));
        Assert.False(admission.GetProperty("requestBody").TryGetProperty("required", out var required) && required.GetBoolean());
        var purchase = document.GetProperty("/api/v1/sales/{saleId}/orders").GetProperty("post");
        Assert.Contains(purchase.GetProperty("parameters").EnumerateArray(), parameter => parameter.GetProperty("name").GetString() == "Purchase-Ticket");
    }
}
