using System.Collections.Concurrent;
using FlashSale.Orders;
using FlashSale.Platform;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace FlashSale.UnitTests.Orders;

/// <summary>Tests the client against a server that gives the answers of each test.</summary>
public sealed class PaymentProviderTests : IAsyncLifetime
{
    private static readonly Guid OrderId = Guid.Parse("01234567-89ab-8cde-8f01-23456789abcd");

    private readonly ConcurrentQueue<(int Status, string Body)> _answers = new();
    private readonly ConcurrentQueue<(string Path, string Key, string Authorization, string Body)> _requests = new();
    private WebApplication _server = null!;

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _server = builder.Build();
        _server.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            _requests.Enqueue((context.Request.Path.Value!, context.Request.Headers["Idempotency-Key"].ToString(), context.Request.Headers.Authorization.ToString(), await reader.ReadToEndAsync()));
            if (!_answers.TryDequeue(out var answer)) answer = (503, "");
            // Status 0 stands for no answer at all.
            if (answer.Status == 0) await Task.Delay(Timeout.Infinite, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            else context.Response.StatusCode = answer.Status;
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync(answer.Body);
        });
        await _server.StartAsync();
    }

    public async ValueTask DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task A_payment_is_asked_for_in_the_providers_terms()
    {
        using var provider = Provider();
        _answers.Enqueue((201, """{"paymentId":"pay_1","paymentUrl":"https://pay.test/1","more":true}"""));
        Assert.Equal(new CreatedPayment("pay_1", "https://pay.test/1"), await CreateAsync(provider));
        Assert.Equal(("/v1/payments", $"{OrderId}", "Bearer the-key",
            $$"""{"orderId":"{{OrderId}}","amount":{"amount":199900,"currency":"CNY"},"payBy":"2026-01-02T03:04:05.000Z"}"""), Assert.Single(_requests));
    }

    [Theory]
    [InlineData("""{"status":"refunded"}""", true)]
    [InlineData("""{"status":"pending"}""", false)]
    public async Task A_refund_is_done_or_under_way(string body, bool done)
    {
        using var provider = Provider();
        _answers.Enqueue((200, body));
        Assert.Equal(done, await provider.RefundAsync("pay_1", OrderId, "because", refusals: 0, CancellationToken.None));
        Assert.Equal(("/v1/refunds", "pay_1", "Bearer the-key", $$"""{"paymentId":"pay_1","orderId":"{{OrderId}}","reason":"because"}"""), Assert.Single(_requests));
    }

    [Theory]
    [InlineData(500, "")]
    [InlineData(503, "")]
    [InlineData(429, "")]
    [InlineData(408, "")]
    [InlineData(409, "")]
    [InlineData(201, "not JSON")]
    [InlineData(0, "")]
    public async Task What_may_pass_is_tried_again_with_the_same_key(int status, string body)
    {
        using var provider = Provider();
        _answers.Enqueue((status, body));
        _answers.Enqueue((201, """{"paymentId":"pay_1","paymentUrl":"https://pay.test/1"}"""));
        Assert.Equal("pay_1", (await CreateAsync(provider)).PaymentId);
        Assert.Equal(2, _requests.Count);
        Assert.Single(_requests.Distinct());
    }

    [Theory]
    [InlineData(400, "")]
    [InlineData(401, "")]
    [InlineData(422, "")]
    [InlineData(302, "")]
    [InlineData(201, """{"paymentId":"","paymentUrl":"https://pay.test/1"}""")]
    [InlineData(201, """{"paymentId":"pay_1","paymentUrl":"javascript:alert(1)"}""")]
    [InlineData(201, "{}")]
    public async Task A_refusal_or_an_answer_that_makes_no_sense_is_not_repeated(int status, string body)
    {
        using var provider = Provider();
        _answers.Enqueue((status, body));
        Assert.False((await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).IsTransient);
        Assert.Single(_requests);
    }

    [Theory]
    [InlineData("open", ProviderPaymentStatus.NotPaid)]
    [InlineData("failed", ProviderPaymentStatus.NotPaid)]
    [InlineData("paid", ProviderPaymentStatus.Paid)]
    [InlineData("refunding", ProviderPaymentStatus.Refunded)]
    [InlineData("refunded", ProviderPaymentStatus.Refunded)]
    public async Task A_payment_is_asked_for_by_its_id_without_a_key(string text, ProviderPaymentStatus status)
    {
        using var provider = Provider();
        _answers.Enqueue((200, $$"""{"paymentId":"pay/1","status":"{{text}}","amount":{"amount":199900,"currency":"CNY"} }"""));
        Assert.Equal(new ProviderPayment(status, 199_900, "CNY"), await provider.FindAsync("pay/1", CancellationToken.None));
        var request = Assert.Single(_requests);
        Assert.Equal(("", "Bearer the-key"), (request.Key, request.Authorization));
    }

    [Fact]
    public async Task A_payment_that_the_provider_does_not_know_is_none_and_an_odd_answer_is_no_answer()
    {
        using var provider = Provider();
        _answers.Enqueue((404, ""));
        Assert.Null(await provider.FindAsync("pay_1", CancellationToken.None));
        _answers.Enqueue((200, """{"status":"perhaps","amount":{"amount":1,"currency":"CNY"} }"""));
        await Assert.ThrowsAsync<PaymentProviderException>(() => provider.FindAsync("pay_1", CancellationToken.None));
        _answers.Enqueue((200, """{"status":"paid"}"""));
        await Assert.ThrowsAsync<PaymentProviderException>(() => provider.FindAsync("pay_1", CancellationToken.None));
    }

    [Fact]
    public async Task After_a_refusal_the_next_request_carries_another_key_and_after_a_failure_the_same()
    {
        using var provider = Provider();
        _answers.Enqueue((403, ""));
        Assert.Equal(403, (await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).RefusedWith);
        _answers.Enqueue((200, """{"status":"pending"}"""));
        await provider.RefundAsync("pay_1", OrderId, "because", refusals: 1, CancellationToken.None);
        Assert.Equal([$"{OrderId}", "pay_1-1"], _requests.Select(request => request.Key));
        foreach (var _ in Enumerable.Range(0, 3)) _answers.Enqueue((500, ""));
        Assert.Equal(0, (await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).RefusedWith);
    }

    [Fact]
    public async Task A_provider_that_keeps_failing_is_left_alone()
    {
        using var provider = Provider();
        for (var i = 0; i < 2; i++) Assert.True((await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).IsTransient);
        var asked = _requests.Count;
        Assert.Equal(6, asked);
        Assert.Contains("too often", (await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).Message, StringComparison.Ordinal);
        Assert.Equal(asked, _requests.Count);
    }

    [Fact]
    public async Task A_provider_that_is_not_there_is_told_as_such()
    {
        using var provider = Provider();
        await _server.StopAsync();
        Assert.True((await Assert.ThrowsAsync<PaymentProviderException>(() => CreateAsync(provider))).IsTransient);
    }

    [Theory]
    [InlineData("nowhere")]
    [InlineData("ftp://pay.test")]
    [InlineData("http://user:hush@pay.test")]
    public void Only_an_http_address_is_one(string url) => Assert.Throws<InvalidSettingException>(() => new PaymentProviderOptions { BaseUrl = url }.Parse());

    [Fact]
    public void A_path_below_the_address_is_kept() => Assert.Equal("https://pay.test/merchants/7/", new PaymentProviderOptions { BaseUrl = "https://pay.test/merchants/7" }.Parse().AbsoluteUri);

    private static Task<CreatedPayment> CreateAsync(PaymentProvider provider) =>
        provider.CreateAsync(OrderId, 199_900, "CNY", new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero), refusals: 0, CancellationToken.None);

    private PaymentProvider Provider() => new(
        new PaymentProviderOptions { BaseUrl = _server.Urls.Single(), ApiKey = "the-key" },
        new Dependency(PaymentProvider.Definition, PaymentProvider.Definition.Defaults with { TimeoutMilliseconds = 5_000, Retries = 2, RetryMilliseconds = 10, BreakMilliseconds = 60_000 }, TimeProvider.System));
}
