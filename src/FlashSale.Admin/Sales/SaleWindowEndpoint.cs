using System.ComponentModel;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>The body of a move of the window, as OpenAPI shows it.</summary>
[Description("At least one of them; the other stays as it is.")]
public sealed record WindowBody(DateTimeOffset? OpensAt = null, DateTimeOffset? ClosesAt = null);

/// <summary>POST /api/v1/sales/{saleId}/window: moves the times of a preloaded sale.</summary>
public static class SaleWindowEndpoint
{
    private sealed record Window(long? OpensAt, long? ClosesAt);

    /// <summary>Moves the window, and answers with the sale's page.</summary>
    public static async Task<IResult> MoveAsync(HttpContext context, string saleId, SaleWindows windows)
    {
        if (!context.Request.TryReadIfMatch(out var versions, out var error)) return AdminProblems.Invalid([error]);
        var (window, refused) = await JsonForm.ReadAsync(context.Request, (form, errors) =>
        {
            var read = new Window(form.OptionalTime("opensAt"), form.OptionalTime("closesAt"));
            if (read is { OpensAt: null, ClosesAt: null } && !errors.Any) errors.Add("body", "must have opensAt, closesAt or both");
            return read;
        });
        if (window is null) return refused!;
        // The move is carried through, even if the manager does not wait any more.
        var move = await windows.MoveAsync(saleId, window.OpensAt, window.ClosesAt, versions, context.Actor(), CancellationToken.None);
        return AdminProblems.Of(move, done => SalePage.Of(done.Sale!, rebuildRequired: false, done.Now).Tagged(context));
    }
}
