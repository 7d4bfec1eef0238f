using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FlashSale.Contracts;
using FlashSale.Platform;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Polly.Timeout;

namespace FlashSale.Orders;

/// <summary>The provider did not do what it was asked, or it is not known whether it did. To ask again with the same key is safe.</summary>
/// <param name="message">What happened.</param>
/// <param name="isTransient">Whether the same request may succeed later; false when the provider refuses it as it is.</param>
/// <param name="inner">The cause.</param>
public sealed class PaymentProviderException(string message, bool isTransient, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether the same request may succeed later.</summary>
    public bool IsTransient => isTransient;
}

/// <summary>A payment as the provider made it.</summary>
/// <param name="PaymentId">The provider's, 1 to 128 visible ASCII characters.</param>
/// <param name="PaymentUrl">Where the shopper pays: an absolute http or https address.</param>
public sealed record CreatedPayment(string PaymentId, string PaymentUrl);

/// <summary>
/// The payment provider, over HTTP: <c>POST v1/payments</c> and <c>POST v1/refunds</c>, each with an idempotency key that
/// stands for the thing itself (the order, the payment), so that a request may be repeated whatever became of it. Each
/// attempt has a deadline, transient failures are tried again, and a provider that keeps failing is left alone for a while.
/// </summary>
public sealed class PaymentProvider : IDisposable
{
    private const int MaxAnswerBytes = 64 * 1024;
    private const int MaxPaymentIdLength = 128;

    private readonly HttpClient _http;
    private readonly Dependency _dependency;

    /// <summary>Does not connect yet.</summary>
    /// <exception cref="InvalidSettingException">The address is none.</exception>
    public PaymentProvider(PaymentProviderOptions options, [FromKeyedServices(Dependency.Payments)] Dependency dependency)
    {
        _dependency = dependency;
        // A pooled connection is renewed now and then, so that a provider that moves is followed.
        _http = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(2), AllowAutoRedirect = false })
        {
            BaseAddress = options.Parse(),
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = MaxAnswerBytes,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", options.ApiKey) },
        };
    }

    /// <summary>Longest that a call with all its retries may take.</summary>
    public TimeSpan Longest => _dependency.Options.Longest;

    /// <summary>What stands between a host and the provider.</summary>
    public static DependencyDefinition Definition { get; } = new(
        Dependency.Payments, "Payments",
        new DependencyOptions { TimeoutMilliseconds = 3_000, Retries = 2, RetryMilliseconds = 200, MinCalls = 6, SamplingSeconds = 10, BreakMilliseconds = 5_000, MaxConcurrent = 100, WaitMilliseconds = 1_000 },
        static e => e is PaymentProviderException { IsTransient: true },
        // With its key a request may be repeated whatever became of it.
        static e => e is TimeoutRejectedException or PaymentProviderException { IsTransient: true });

    /// <summary>Has a payment made. The key is the order: asked again, the provider answers with the same payment.</summary>
    /// <exception cref="PaymentProviderException">There is no answer to rely on.</exception>
    public async Task<CreatedPayment> CreateAsync(Guid orderId, long amount, string currency, DateTimeOffset payBy, CancellationToken cancellation)
    {
        var form = new PaymentForm(orderId, new AmountForm(amount, currency), Timestamps.Text(payBy));
        var payment = await CallAsync("v1/payments", orderId.ToString(), () => JsonContent.Create(form, ProviderJson.Default.PaymentForm), ProviderJson.Default.CreatedPayment, cancellation);
        return IsPaymentId(payment.PaymentId) && Uri.TryCreate(payment.PaymentUrl, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            ? payment
            : throw new PaymentProviderException("The provider answered with a payment that is none.", isTransient: false);
    }

    /// <summary>Has a payment given back. The key is the payment: to ask again gives nothing twice.</summary>
    /// <returns>Whether it is given back already; else the provider will tell.</returns>
    /// <exception cref="PaymentProviderException">There is no answer to rely on.</exception>
    public async Task<bool> RefundAsync(string paymentId, Guid orderId, string reason, CancellationToken cancellation)
    {
        var form = new RefundForm(paymentId, orderId, reason);
        var refund = await CallAsync("v1/refunds", paymentId, () => JsonContent.Create(form, ProviderJson.Default.RefundForm), ProviderJson.Default.RefundAnswer, cancellation);
        return refund.Status switch
        {
            "refunded" => true,
            "pending" => false,
            _ => throw new PaymentProviderException($"The provider answered with refund status '{refund.Status}'.", isTransient: false),
        };
    }

    /// <inheritdoc />
    public void Dispose() => _http.Dispose();

    /// <summary>Whether a text may be the id of a payment.</summary>
    internal static bool IsPaymentId(string? text) => text is { Length: > 0 and <= MaxPaymentIdLength } && !text.AsSpan().ContainsAnyExceptInRange('!', '~');

    private async Task<T> CallAsync<T>(
        string path, string key, Func<HttpContent> content, JsonTypeInfo<T> answer, CancellationToken cancellation)
    {
        try
        {
            return await _dependency.RepeatableAsync(
                static async (call, token) => await call.Provider.AttemptAsync(call.path, call.key, call.content, call.answer, token), (Provider: this, path, key, content, answer), cancellation);
        }
        catch (Exception e) when (e is DependencyTimeoutException or DependencyRejectedException)
        {
            throw new PaymentProviderException($"The provider cannot be asked, {e.Message}", isTransient: true, e);
        }
    }

    private async Task<T> AttemptAsync<T>(
        string path, string key, Func<HttpContent> content, JsonTypeInfo<T> answer, CancellationToken cancellation)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = content() };
            request.Headers.TryAddWithoutValidation(IdempotencyKey.Header, key);
            using var response = await _http.SendAsync(request, cancellation);
            var status = (int)response.StatusCode;
            if (!response.IsSuccessStatusCode) throw new PaymentProviderException($"The provider answered {status}.", isTransient: status is 408 or 425 or 429 or >= 500);
            return await response.Content.ReadFromJsonAsync(answer, cancellation) ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new PaymentProviderException("The provider could not be reached.", isTransient: true, e);
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            // Whoever answered so, a proxy perhaps, does not speak for the provider.
            throw new PaymentProviderException("The provider's answer could not be read.", isTransient: true, e);
        }
    }
}

/// <summary>Puts the provider into a host.</summary>
public static class PaymentProviderRegistration
{
    /// <summary>Reads section <c>Payments</c>, and adds the provider as a dependency.</summary>
    /// <exception cref="InvalidSettingException">A setting is not as it must be.</exception>
    public static void AddPaymentProvider(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<PaymentProviderOptions>(builder.Configuration, "Payments").Parse();
        builder.AddDependency(PaymentProvider.Definition);
        builder.Services.AddSingleton<PaymentProvider>();
    }
}

internal sealed record AmountForm(long Amount, string Currency);

internal sealed record PaymentForm(Guid OrderId, AmountForm Amount, string PayBy);

internal sealed record RefundForm(string PaymentId, Guid OrderId, string Reason);

internal sealed record RefundAnswer(string? Status);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(PaymentForm))]
[JsonSerializable(typeof(CreatedPayment))]
[JsonSerializable(typeof(RefundForm))]
[JsonSerializable(typeof(RefundAnswer))]
internal sealed partial class ProviderJson : JsonSerializerContext;
