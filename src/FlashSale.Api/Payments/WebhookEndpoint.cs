using System.Diagnostics.Metrics;
using FlashSale.Api.Sales;
using FlashSale.Orders;
using FlashSale.Platform;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.OpenApi;

namespace FlashSale.Api.Payments;

/// <summary>The body of a webhook as OpenAPI shows it. <see cref="PaymentNotice"/> reads the real one.</summary>
public sealed record WebhookForm(string Type, WebhookData Data);

/// <summary>The order and the payment that a webhook tells of.</summary>
public sealed record WebhookData(Guid OrderId, string PaymentId, Money Amount);

/// <summary>
/// POST /api/v1/payments/webhook: takes the provider's notices about payments. Instead of a token the request carries a
/// signature over the bytes of the body, so all bytes are read before any of them is believed. The provider sends a
/// notice again after any answer that is not 2xx.
/// </summary>
public static partial class WebhookEndpoint
{
    private const int MaxBodyBytes = 64 * 1024;

    private static readonly Problem InvalidSignature = new(401, "invalid_signature", "The webhook is not signed as it must be.");
    private static readonly Problem UnknownOrder = new(404, "order_not_found", "There is no such order, or it is not stored yet.");
    private static readonly Problem AmountMismatch = new(422, "amount_mismatch", "That is not the amount of the order.");
    private static readonly Problem PaymentMismatch = new(422, "payment_mismatch", "This payment belongs to another order.");

    private static readonly Counter<long> Webhooks =
        new Meter("FlashSale.Payments").CreateCounter<long>("flashsale_payment_webhooks_total", description: "Webhooks of the payment provider, by what became of them.");

    /// <summary>Maps the endpoint.</summary>
    public static void Map(WebApplication app) =>
        // The signature tells that the body is a notice, so every media type is taken. Some providers send text/plain.
        app.MapPost("/api/v1/payments/webhook", ReceiveAsync).WithSummary("Takes the notices of the payment provider")
            .Accepts<WebhookForm>("application/json", "*/*").Produces(200).ProducesErrors(400, 401, 404, 413, 422, 429, 503)
            .Takes(ParameterLocation.Header, StandardWebhook.IdHeader, "The notice.", ApiDocument.Of(JsonSchemaType.String), isRequired: true)
            .Takes(ParameterLocation.Header, StandardWebhook.TimestampHeader, "Seconds since 1970.", ApiDocument.Of(JsonSchemaType.String), isRequired: true)
            .Takes(ParameterLocation.Header, StandardWebhook.SignatureHeader, "Of id, timestamp and body.", ApiDocument.Of(JsonSchemaType.String), isRequired: true);

    private static async Task ReceiveAsync(
        HttpContext context, StandardWebhook webhooks, PaymentNotices notices, OrderReader orders,
        [FromKeyedServices(Dependency.Postgres)] Dependency postgres, ILogger<PaymentNotices> logger)
    {
        var headers = context.Request.Headers;
        var body = await ReadAsync(context);
        var id = headers[StandardWebhook.IdHeader].ToString();
        var signature = webhooks.Verify(id, headers[StandardWebhook.TimestampHeader], headers[StandardWebhook.SignatureHeader], body.Span);
        if (signature is not WebhookSignature.Valid)
        {
            LogSignature(logger, signature);
            await RefuseAsync(context, InvalidSignature);
            return;
        }
        if (PaymentNotice.Read(id, body, out var error) is not { } notice)
        {
            await RefuseAsync(context, Problem.InvalidRequest, error);
            return;
        }
        var outcome = await postgres.OnceAsync(
            static async (call, token) => await call.notices.RecordAsync(call.notice, token), (notices, notice), context.RequestAborted);
        if (ProblemOf(outcome) is { } problem)
        {
            LogRefused(logger, problem.Code, notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency);
            await RefuseAsync(context, problem);
            return;
        }
        if (outcome is PaymentNoticeOutcome.Unmatched) LogUnmatched(logger, notice.TypeText, notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency);
        Webhooks.Add(1, KeyValuePair.Create<string, object?>("outcome", TextOf(outcome)));
        orders.Changed(notice.OrderId, userId: null);
        context.Response.StatusCode = StatusCodes.Status200OK;
    }

    // The only place that turns an outcome into HTTP. Null means 200.
    private static Problem? ProblemOf(PaymentNoticeOutcome outcome) => outcome switch
    {
        PaymentNoticeOutcome.Done or PaymentNoticeOutcome.Repeated or PaymentNoticeOutcome.Unmatched => null,
        PaymentNoticeOutcome.UnknownOrder => UnknownOrder,
        PaymentNoticeOutcome.AmountMismatch => AmountMismatch,
        PaymentNoticeOutcome.PaymentOfOtherOrder => PaymentMismatch,
        PaymentNoticeOutcome.Busy => Problem.TemporarilyUnavailable,
    };

    private static string TextOf(PaymentNoticeOutcome taken) => taken switch
    {
        PaymentNoticeOutcome.Repeated => "repeated",
        PaymentNoticeOutcome.Unmatched => "unmatched",
        _ => "recorded",
    };

    private static async Task<ReadOnlyMemory<byte>> ReadAsync(HttpContext context)
    {
        // Reading beyond the limit fails with 413, even if a shorter length or none was announced.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = MaxBodyBytes;
        var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        return body.GetBuffer().AsMemory(0, (int)body.Length);
    }

    private static Task RefuseAsync(HttpContext context, Problem problem, ProblemError? error = null)
    {
        Webhooks.Add(1, KeyValuePair.Create<string, object?>("outcome", problem.Code));
        return Problems.WriteAsync(context, problem, errors: error is { } wrong ? [wrong] : null);
    }

    [LoggerMessage(3, LogLevel.Warning, "Notice {Type} was kept for operators, nothing follows from it: order {OrderId}, payment {PaymentId}, {Amount} {Currency}")]
    private static partial void LogUnmatched(ILogger logger, string type, Guid orderId, string paymentId, long amount, string currency);

    [LoggerMessage(1, LogLevel.Warning, "A webhook was refused: its signature is {Judgement}")]
    private static partial void LogSignature(ILogger logger, WebhookSignature judgement);

    [LoggerMessage(2, LogLevel.Warning, "A webhook was refused, {Code}: order {OrderId}, payment {PaymentId}, {Amount} {Currency}")]
    private static partial void LogRefused(ILogger logger, string code, Guid orderId, string paymentId, long amount, string currency);
}
