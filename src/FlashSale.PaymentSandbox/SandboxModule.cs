using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.PaymentSandbox;

/// <summary>Adds the sandbox to its host, and maps its HTTP.</summary>
public static class SandboxModule
{
    private static readonly Problem NotFound = new(404, "payment_not_found", "There is no such payment.");
    private static readonly Problem NotPaid = new(409, "payment_not_refundable", "Nothing was paid that could be given back.");
    private static readonly Problem Refused = new(403, "merchant_blocked", "The provider refuses this merchant's requests at the moment.");
    private static readonly Problem KeyReused = new(422, "idempotency_key_reused", "This Idempotency-Key was used for another payment.");

    /// <summary>Registers the services of the sandbox. Settings: section <c>Sandbox</c>.</summary>
    public static void AddSandbox(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<SandboxOptions>(builder.Configuration, "Sandbox");
        if (!Uri.TryCreate(options.WebhookUrl, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
            throw new InvalidSettingException($"Sandbox:WebhookUrl = '{options.WebhookUrl}': allowed is an http or https address.");
        if (!StandardWebhook.TryReadSecret(options.WebhookSecret, out var key))
            throw new InvalidSettingException($"Sandbox:WebhookSecret = (hidden): must be whsec_ and the base64 of {StandardWebhook.MinKeyBytes} to {StandardWebhook.MaxKeyBytes} bytes.");
        builder.Services.AddSingleton(new StandardWebhook([key], TimeProvider.System));
        builder.Services.AddSingleton(new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(2) }));
        builder.Services.AddSingleton<BehaviourSwitch>();
        builder.Services.AddSingleton<NoticeSender>();
        builder.Services.AddSingleton<SandboxPayments>();
        builder.Services.ConfigureHttpJsonOptions(json => json.SerializerOptions.TypeInfoResolverChain.Insert(0, SandboxJson.Default));
    }

    /// <summary>Maps the provider's API, which merchants call with their API key.</summary>
    public static void MapProviderApi(this WebApplication app)
    {
        var merchants = app.MapGroup("/v1").AddEndpointFilter(async (context, next) =>
        {
            if (IsMerchant(context.HttpContext)) return await next(context);
            await Problems.WriteAsync(context.HttpContext, Problem.Unauthenticated);
            return Results.Empty;
        });
        merchants.MapPost("/payments", CreateAsync);
        merchants.MapGet("/payments/{paymentId}", ShowAsync);
        merchants.MapPost("/refunds", RefundAsync);
    }

    /// <summary>
    /// Maps the endpoints that make the sandbox behave like a provider on a bad day. They take no key: everybody that
    /// reaches a sandbox may play with it.
    /// </summary>
    public static void MapBehaviour(this WebApplication app)
    {
        app.MapGet("/sandbox/behaviour", (BehaviourSwitch behaviour) => Results.Ok(behaviour.Now));
        app.MapPost("/sandbox/payments/{paymentId}/partial-refund", (string paymentId, long amount, SandboxPayments payments) =>
            payments.RefundPart(paymentId, amount) ? Results.Accepted() : Results.NotFound());
        app.MapPut("/sandbox/behaviour", async (HttpContext context, BehaviourForm form, BehaviourSwitch behaviour) =>
        {
            var next = form.Apply(behaviour.Now);
            var errors = next.Errors();
            if (errors.Count > 0)
            {
                await Problems.WriteAsync(context, Problem.InvalidRequest, errors: errors);
                return Results.Empty;
            }
            behaviour.Now = next;
            return Results.Ok(next);
        });
    }

    private static bool IsMerchant(HttpContext context)
    {
        var expected = SHA256.HashData(Encoding.UTF8.GetBytes("Bearer " + context.RequestServices.GetRequiredService<SandboxOptions>().ApiKey));
        return CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(context.Request.Headers.Authorization.ToString())), expected);
    }

    private static async Task<IResult> CreateAsync(HttpContext context, PaymentForm form, SandboxPayments payments, SandboxOptions options)
    {
        if (!IdempotencyKey.TryRead(context.Request.Headers[IdempotencyKey.Header], out var key)) return await RefuseAsync(context, IdempotencyKey.Missing);
        if (payments.Refuses(key)) return await RefuseAsync(context, Refused);
        if (form.Amount is not { Amount: >= 0, Currency.Length: 3 }) return await RefuseAsync(context, Problem.InvalidRequest);
        if (payments.Create(key, form.OrderId, form.Amount, form.PayBy) is not { } payment) return await RefuseAsync(context, KeyReused);
        var origin = (options.PublicUrl ?? $"{context.Request.Scheme}://{context.Request.Host}").TrimEnd('/');
        return Results.Created($"/v1/payments/{payment.PaymentId}", new PaymentAnswer(payment.PaymentId, $"{origin}/pay/{payment.PaymentId}"));
    }

    private static async Task<IResult> ShowAsync(HttpContext context, string paymentId, SandboxPayments payments) =>
        payments.Find(paymentId) is { } payment ? Results.Ok(payment) : await RefuseAsync(context, NotFound);

    private static async Task<IResult> RefundAsync(HttpContext context, RefundForm form, SandboxPayments payments)
    {
        if (!IdempotencyKey.TryRead(context.Request.Headers[IdempotencyKey.Header], out var key)) return await RefuseAsync(context, IdempotencyKey.Missing);
        if (payments.Refuses(key)) return await RefuseAsync(context, Refused);
        if (payments.Find(form.PaymentId) is null) return await RefuseAsync(context, NotFound);
        return payments.Refund(form.PaymentId) is { } status
            ? Results.Ok(new RefundAnswer(status is PaymentStatus.Refunded ? "refunded" : "pending"))
            : await RefuseAsync(context, NotPaid);
    }

    private static async Task<IResult> RefuseAsync(HttpContext context, Problem problem)
    {
        await Problems.WriteAsync(context, problem);
        return Results.Empty;
    }
}

/// <summary>Money in the form of the contract: minor units, and the currency code of ISO 4217.</summary>
public sealed record Money(long Amount, string Currency);

/// <summary>The body of a request for a payment.</summary>
public sealed record PaymentForm(Guid OrderId, Money Amount, DateTimeOffset PayBy);

/// <summary>The answer to a request for a payment: its id and its pay page.</summary>
public sealed record PaymentAnswer(string PaymentId, string PaymentUrl);

/// <summary>The body of a request for a refund.</summary>
public sealed record RefundForm(string PaymentId, Guid OrderId, string Reason);

/// <summary>The answer to a request for a refund: <c>pending</c> or <c>refunded</c>.</summary>
public sealed record RefundAnswer(string Status);

/// <summary>The body of a webhook.</summary>
public sealed record Notice(string Type, DateTimeOffset Timestamp, NoticeData Data);

/// <summary>The payment that a webhook tells of, and its order.</summary>
public sealed record NoticeData(Guid OrderId, string PaymentId, Money Amount);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, UseStringEnumConverter = true)]
[JsonSerializable(typeof(PaymentForm))]
[JsonSerializable(typeof(PaymentAnswer))]
[JsonSerializable(typeof(Payment))]
[JsonSerializable(typeof(RefundForm))]
[JsonSerializable(typeof(RefundAnswer))]
[JsonSerializable(typeof(Notice))]
[JsonSerializable(typeof(Behaviour))]
[JsonSerializable(typeof(BehaviourForm))]
internal sealed partial class SandboxJson : JsonSerializerContext;
