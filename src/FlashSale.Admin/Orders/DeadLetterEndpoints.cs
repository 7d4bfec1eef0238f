using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Stock;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Stock;

namespace FlashSale.Admin.Orders;

/// <summary>A reservation that Postgres could not store.</summary>
/// <param name="DeadLetterId">Its number.</param>
/// <param name="SaleId">The sale.</param>
/// <param name="OrderId">The order it would have become.</param>
/// <param name="Sku">The item; null where the record cannot be read, as are the next two.</param>
/// <param name="UserId">Who bought.</param>
/// <param name="Quantity">Units.</param>
/// <param name="State">open, retried or rejected.</param>
/// <param name="Error">What Postgres said.</param>
/// <param name="SqlState">Its code for that.</param>
/// <param name="Reason">Why it was rejected.</param>
/// <param name="AcceptedAt">When it was accepted.</param>
/// <param name="CreatedAt">When it was put aside.</param>
/// <param name="ResolvedAt">When it was decided.</param>
public sealed record DeadLetterPage(
    long DeadLetterId, string SaleId, Guid OrderId, string? Sku, string? UserId, int? Quantity, string State, string Error, string? SqlState, string? Reason,
    string AcceptedAt, string CreatedAt, string? ResolvedAt)
{
    /// <summary>The page of a dead letter.</summary>
    public static DeadLetterPage Of(DeadLetter letter)
    {
        var reservation = Read(letter.Record);
        return new(letter.DeadLetterId, letter.SaleId, letter.OrderId, reservation?.Sku, reservation?.UserId, reservation?.Quantity, letter.State,
            letter.Error, letter.SqlState, letter.Reason, Moments.Text(letter.AcceptedAt), Moments.Text(letter.CreatedAt), Moments.Text(letter.ResolvedAt));
    }

    private static Reservation? Read(byte[] record)
    {
        try
        {
            return ReservationCodec.Decode(record, 0).Reservation;
        }
        catch (FormatException)
        {
            return null;
        }
    }
}

/// <summary>A page of the dead letters.</summary>
public sealed record DeadLetterList(IReadOnlyList<DeadLetterPage> DeadLetters, string? NextCursor);

/// <summary>How a dead letter was decided.</summary>
public sealed record DeadLetterDecision(long DeadLetterId, string State);

/// <summary>The body that rejects a dead letter, for the document.</summary>
public sealed record RejectBody(string Reason);

/// <summary>/api/v1/dead-letters: what an operator must look at.</summary>
public static class DeadLetterEndpoints
{
    /// <summary>Registers what the endpoints need.</summary>
    public static void AddDeadLetters(this IServiceCollection services)
    {
        services.AddSingleton<SettleScript>();
        services.AddSingleton<DeadLetters>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapDeadLetters(this WebApplication app)
    {
        var letters = app.MapGroup("/api/v1/dead-letters").WithTags("Dead letters");
        letters.MapGet("", ListAsync).For(AdminRole.Viewer).Produces<DeadLetterList>();
        letters.MapPost("{id}/retry", RetryAsync).For(AdminRole.Operator).Produces<DeadLetterDecision>();
        letters.MapPost("{id}/reject", RejectAsync).For(AdminRole.Operator).Accepts<RejectBody>("application/json").Produces<DeadLetterDecision>();
    }

    private static async Task<IResult> ListAsync(HttpContext context, DeadLetters letters, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, Paging.IsNumber);
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var (page, next) = paging.Cut(await letters.ListAsync(paging.Limit + 1, paging.AfterNumber, context.RequestAborted), DeadLetterPage.Of, letter => letter.DeadLetterId);
        return Results.Ok(new DeadLetterList(page, next));
    }

    // A decision that was begun is carried through, whether or not its operator still waits.
    private static async Task<IResult> RetryAsync(HttpContext context, string id, DeadLetters letters) =>
        TryRead(id, out var number)
            ? Answer(number, await letters.RetryAsync(number, context.Actor(), CancellationToken.None), "retried")
            : AdminProblems.DeadLetterNotFound;

    private static async Task<IResult> RejectAsync(HttpContext context, string id, DeadLetters letters)
    {
        if (!TryRead(id, out var number)) return AdminProblems.DeadLetterNotFound;
        var (reason, refused) = await JsonForm.ReadAsync(context.Request, (form, _) => form.Text("reason", StockEndpoints.IsReason, StockEndpoints.ReasonRule));
        if (reason is null) return refused!;
        return Answer(number, await letters.RejectAsync(number, context.Actor(), reason, CancellationToken.None), "rejected");
    }

    private static IResult Answer(long id, DeadLetterOutcome outcome, string state) =>
        AdminProblems.Of(outcome, () => Results.Ok(new DeadLetterDecision(id, state)));

    private static bool TryRead(string id, out long number) => long.TryParse(id, System.Globalization.NumberStyles.None, null, out number);
}
