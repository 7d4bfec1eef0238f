using System.Globalization;
using System.Net;

namespace FlashSale.PaymentSandbox;

/// <summary>/pay/{paymentId}: the page on which the shopper pays, with a button and no money.</summary>
public static class PayPages
{
    /// <summary>Maps the page.</summary>
    public static void MapPayPages(this WebApplication app)
    {
        app.MapGet("/pay/{paymentId}", (string paymentId, SandboxPayments payments, TimeProvider time) => Show(payments.Find(paymentId), time));
        app.MapPost("/pay/{paymentId}", (string paymentId, SandboxPayments payments, TimeProvider time) => Show(payments.Pay(paymentId), time, tried: true));
    }

    private static IResult Show(Payment? payment, TimeProvider time, bool tried = false)
    {
        if (payment is null) return Page(404, "There is no such payment.");
        var late = payment.PayBy < time.GetUtcNow();
        var text = payment.Status switch
        {
            PaymentStatus.Open when late => "The time to pay is over.",
            PaymentStatus.Open when tried => "The payment has failed. Try again.",
            PaymentStatus.Open => "Nothing is charged: this is a sandbox.",
            PaymentStatus.Paid => "Paid.",
            PaymentStatus.Refunding => "The money is on its way back.",
            PaymentStatus.Refunded => "The money is back.",
        };
        var amount = (payment.Amount.Amount / 100m).ToString("0.00", CultureInfo.InvariantCulture);
        var button = payment.Status is PaymentStatus.Open && !late ? "<form method=\"post\"><button>Pay</button></form>" : "";
        return Page(late && tried && payment.Status is PaymentStatus.Open ? 409 : 200, text,
            $"<p>Order {payment.OrderId}: {amount} {WebUtility.HtmlEncode(payment.Amount.Currency)}</p>{button}");
    }

    private static IResult Page(int status, string text, string body = "") => Results.Content(
        $"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Payment</title><h1>Payment</h1>{body}<p>{text}</p></html>",
        "text/html; charset=utf-8", statusCode: status);
}
