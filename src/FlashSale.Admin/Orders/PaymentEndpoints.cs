using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;

namespace FlashSale.Admin.Orders;

/// <summary>A payment that an operator may have to look at.</summary>
/// <param name="PaymentId">The provider's id of the payment.</param>
/// <param name="OrderId">The order that the payment is said to be for.</param>
/// <param name="SaleId">The sale of the order. Null where there is no such order.</param>
/// <param name="OrderStatus">The status of the order. Null where there is no such order.</param>
/// <param name="Amount">The amount of the payment, or the one that the notice names.</param>
/// <param name="State"><c>created</c>: the provider has not told the outcome of the payment. <c>unmatched</c>: the
/// provider sent a notice that nothing follows from.</param>
/// <param name="Reason">Why nothing follows from the notice: partial_refund, unknown_order or amount_mismatch. Null for
/// a created payment.</param>
/// <param name="At">When the payment was created, or the notice came.</param>
/// <param name="PayBy">Until when the order was to be paid.</param>
/// <param name="Asks">How often the provider was asked about the payment.</param>
/// <param name="AnsweredAt">When the provider last answered that nothing was paid.</param>
/// <param name="LastError">Why there was no answer to rely on.</param>
public sealed record PaymentPage(
    string PaymentId, Guid OrderId, string? SaleId, string? OrderStatus, Money Amount, string State, string? Reason, string At, string? PayBy,
    int Asks, string? AnsweredAt, string? LastError)
{
    /// <summary>Makes the page of a payment.</summary>
    public static PaymentPage Of(PaymentRow row) => new(
        row.PaymentId, row.OrderId, row.SaleId, row.OrderStatus, new Money(row.Amount, row.Currency), row.Reason is null ? "created" : "unmatched",
        row.Reason, Moments.Text(row.At), Moments.Text(row.PayBy), row.Asks, Moments.Text(row.AnsweredAt), row.LastError);
}

/// <summary>A page of payments, newest first. NextCursor is null on the last page.</summary>
public sealed record PaymentList(IReadOnlyList<PaymentPage> Payments, string? NextCursor);

/// <summary>
/// /api/v1/payments: payments without an outcome from the provider, and notices that could not be taken.
/// </summary>
public static class PaymentEndpoints
{
    /// <summary>Maps the endpoint.</summary>
    public static void Map(WebApplication app) =>
        app.MapGet("/api/v1/payments", ListAsync).WithTags("Orders").For(AdminRole.Viewer).Produces<PaymentList>()
            .WithDescription("Newest first. state=created: payments of which the provider has not told what became of them; "
                + "state=unmatched: notices that were kept and that nothing follows from (refunds in part, unknown orders, other amounts).");

    private static async Task<IResult> ListAsync(HttpContext context, PaymentSearch payments, string? state, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, Paging.IsNumber);
        if (state is not ("created" or "unmatched")) errors.Add("state", "must be created or unmatched");
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var found = await payments.FindAsync(state == "unmatched", paging.Limit + 1, paging.AfterNumber, context.RequestAborted);
        var (page, next) = paging.Cut(found, PaymentPage.Of, payment => payment.No);
        return Results.Ok(new PaymentList(page, next));
    }
}
