using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FlashSale.Contracts;
using FlashSale.Platform;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Polly.Timeout;

namespace FlashSale.Orders;

/// <summary>
/// The payment provider, over HTTP: <c>POST v1/payments</c>, <c>POST v1/refunds</c> and <c>GET
/// v1/payments/{paymentId}</c>. Each POST carries an idempotency key that stands for the thing itself (the order, the
/// payment), so a request with an unknown outcome may be repeated. A provider may repeat its first answer to a key for
/// ever. A refusal has done nothing, so the request after it carries another key. Each attempt has a deadline,
/// transient failures are tried again, and a provider that keeps failing is left alone for a while.
/// </summary>
public sealed class PaymentProvider : IDisposable
{
    private const int MaxAnswerBytes = 64 * 1024;
    private const int MaxPaymentIdLength = 128;

    private readonly HttpClient _http;
    private readonly Dependency _dependency;

    /// <summary>Reads the address and the API key. Does not connect yet.</summary>
    /// <exception cref="InvalidSettingException">
    /// The address is not an http or https address without user and query.
    /// </exception>
    public PaymentProvider(PaymentProviderOptions options, [FromKeyedServices(Dependency.Payments)] Dependency dependency)
    {
        _dependency = dependency;
        // Renew pooled connections now and then, so that this client follows a provider that moves to another address.
        _http = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(2), AllowAutoRedirect = false })
        {
            BaseAddress = options.Parse(),
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = MaxAnswerBytes,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", options.ApiKey) },
        };
    }

    /// <summary>The longest time that a call with all its retries may take.</summary>
    public TimeSpan Longest => _dependency.Options.Longest;

    /// <summary>
    /// Deadline, retries, circuit breaker and concurrency of calls to the provider, unless settings say otherwise.
    /// </summary>
    public static DependencyDefinition Definition { get; } = new(
        Dependency.Payments, "Payments",
        new DependencyOptions { TimeoutMilliseconds = 3_000, Retries = 2, RetryMilliseconds = 200, MinCalls = 6, SamplingSeconds = 10, BreakMilliseconds = 5_000, MaxConcurrent = 100, WaitMilliseconds = 1_000 },
        static e => e is PaymentProviderException { IsTransient: true },
        // Each POST has a key and the GET changes nothing, so a request with an unknown outcome may be repeated.
        static e => e is TimeoutRejectedException or PaymentProviderException { IsTransient: true });

    /// <summary>
    /// Asks the provider to make a payment. The order's id is the key, so the provider answers a repeat with the same
    /// payment.
    /// </summary>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="amount">Minor units of <paramref name="currency"/>.</param>
    /// <param name="currency">ISO 4217 code.</param>
    /// <param name="payBy">The end of the time to pay.</param>
    /// <param name="refusals">
    /// The number of times the provider has refused this payment before. It makes the next key.
    /// </param>
    /// <param name="cancellation">Ends the call. Its outcome is unknown then.</param>
    /// <exception cref="PaymentProviderException">The provider gave no reliable answer.</exception>
    public async Task<CreatedPayment> CreateAsync(
        Guid orderId, long amount, string currency, DateTimeOffset payBy, int refusals, CancellationToken cancellation)
    {
        var form = new PaymentForm(orderId, new AmountForm(amount, currency), Timestamps.Text(payBy));
        var payment = await CallAsync("v1/payments", KeyOf(orderId.ToString(), refusals),
            () => JsonContent.Create(form, ProviderJson.Default.PaymentForm), ProviderJson.Default.CreatedPayment, cancellation);
        return IsPaymentId(payment.PaymentId) && Uri.TryCreate(payment.PaymentUrl, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            ? payment
            : throw new PaymentProviderException("The provider answered with a payment that is none.", isTransient: false);
    }

    /// <summary>Asks the provider how a payment stands.</summary>
    /// <returns>Null when the provider knows no such payment.</returns>
    /// <exception cref="PaymentProviderException">The provider gave no reliable answer.</exception>
    public async Task<ProviderPayment?> FindAsync(string paymentId, CancellationToken cancellation)
    {
        try
        {
            var payment = await CallAsync($"v1/payments/{Uri.EscapeDataString(paymentId)}", key: null, content: null, ProviderJson.Default.PaymentAnswer, cancellation);
            ProviderPaymentStatus? status = payment.Status switch
            {
                "open" or "failed" or "expired" or "cancelled" => ProviderPaymentStatus.NotPaid,
                "paid" => ProviderPaymentStatus.Paid,
                "refunding" or "refunded" => ProviderPaymentStatus.Refunded,
                _ => null,
            };
            return status is { } known && payment.Amount is { Currency: not null } amount
                ? new ProviderPayment(known, amount.Amount, amount.Currency)
                : throw new PaymentProviderException($"The provider answered with payment status '{payment.Status}'.", isTransient: false);
        }
        catch (PaymentProviderException e) when (e.RefusedWith is 404 or 410)
        {
            return null;
        }
    }

    /// <summary>
    /// Asks the provider to give a payment back. The payment's id is the key, so asking again gives nothing twice.
    /// </summary>
    /// <param name="paymentId">The provider's id of the payment.</param>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="reason">The reason, passed on to the provider.</param>
    /// <param name="refusals">
    /// The number of times the provider has refused this refund before. It makes the next key.
    /// </param>
    /// <param name="cancellation">Ends the call. Its outcome is unknown then.</param>
    /// <returns>True when the money is given back already. False when the provider will tell later.</returns>
    /// <exception cref="PaymentProviderException">The provider gave no reliable answer.</exception>
    public async Task<bool> RefundAsync(string paymentId, Guid orderId, string reason, int refusals, CancellationToken cancellation)
    {
        var form = new RefundForm(paymentId, orderId, reason);
        var refund = await CallAsync("v1/refunds", KeyOf(paymentId, refusals),
            () => JsonContent.Create(form, ProviderJson.Default.RefundForm), ProviderJson.Default.RefundAnswer, cancellation);
        return refund.Status switch
        {
            "refunded" => true,
            "pending" => false,
            _ => throw new PaymentProviderException($"The provider answered with refund status '{refund.Status}'.", isTransient: false),
        };
    }

    /// <inheritdoc />
    public void Dispose() => _http.Dispose();

    /// <summary>Whether a text can be a payment's id: 1 to 128 visible ASCII characters.</summary>
    internal static bool IsPaymentId(string? text) => text is { Length: > 0 and <= MaxPaymentIdLength } && !text.AsSpan().ContainsAnyExceptInRange('!', '~');

    private static PaymentProviderException Answered(int status)
    {
        // 409: an earlier attempt with this key is still under way, so its outcome is unknown.
        var isTransient = status is 408 or 409 or 425 or 429 or >= 500;
        return new($"The provider answered {status}.", isTransient) { RefusedWith = !isTransient && status is >= 400 and < 500 ? status : 0 };
    }

    private static string KeyOf(string thing, int refusals) => refusals == 0 ? thing : $"{thing}-{refusals}";

    // A call without content is a GET and needs no key.
    private async Task<T> CallAsync<T>(
        string path, string? key, Func<HttpContent>? content, JsonTypeInfo<T> answer, CancellationToken cancellation)
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
        string path, string? key, Func<HttpContent>? content, JsonTypeInfo<T> answer, CancellationToken cancellation)
    {
        try
        {
            using var request = new HttpRequestMessage(content is null ? HttpMethod.Get : HttpMethod.Post, path) { Content = content?.Invoke() };
            if (key is not null) request.Headers.TryAddWithoutValidation(IdempotencyKey.Header, key);
            using var response = await _http.SendAsync(request, cancellation);
            var status = (int)response.StatusCode;
            if (!response.IsSuccessStatusCode) throw Answered(status);
            return await response.Content.ReadFromJsonAsync(answer, cancellation) ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new PaymentProviderException("The provider could not be reached.", isTransient: true, e);
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            // An unreadable answer probably comes from a proxy in between and not from the provider, so asking again
            // may help.
            throw new PaymentProviderException("The provider's answer could not be read.", isTransient: true, e);
        }
    }
}

/// <summary>Adds the payment provider to a host.</summary>
public static class PaymentProviderRegistration
{
    /// <summary>Reads section <c>Payments</c>, and registers the provider as a dependency.</summary>
    /// <exception cref="InvalidSettingException">A setting of the section is invalid.</exception>
    public static void AddPaymentProvider(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<PaymentProviderOptions>(builder.Configuration, "Payments").Parse();
        builder.AddDependency(PaymentProvider.Definition);
        builder.Services.AddSingleton<PaymentProvider>();
    }
}
