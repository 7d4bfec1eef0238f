using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Stock;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Stock;

namespace FlashSale.Admin.Orders;

/// <summary>A reservation that Postgres could not store.</summary>
/// <param name="DeadLetterId">The number of the dead letter.</param>
/// <param name="SaleId">The sale of the reservation.</param>
/// <param name="OrderId">The order that the reservation would have become. All zeros where the record cannot be
/// read.</param>
/// <param name="Sku">The item. Null where the record cannot be read, as are the next two.</param>
/// <param name="UserId">The user that bought.</param>
/// <param name="Quantity">Units.</param>
/// <param name="State"><c>open</c>, <c>retried</c> or <c>rejected</c>.</param>
/// <param name="Error">The message of Postgres, or the reason why the record cannot be read.</param>
/// <param name="SqlState">The code (SQLSTATE) of that message, if it has one.</param>
/// <param name="Reason">Why an operator rejected it.</param>
/// <param name="AcceptedAt">When the purchase was accepted.</param>
/// <param name="CreatedAt">When the reservation became a dead letter.</param>
/// <param name="ResolvedAt">When an operator decided it.</param>
public sealed record DeadLetterPage(
    long DeadLetterId, string SaleId, Guid OrderId, string? Sku, string? UserId, int? Quantity, string State, string Error, string? SqlState, string? Reason,
    string AcceptedAt, string CreatedAt, string? ResolvedAt)
{
    /// <summary>Makes the page of a dead letter.</summary>
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

/// <summary>A page of the dead letters, newest first. NextCursor is null on the last page.</summary>
public sealed record DeadLetterList(IReadOnlyList<DeadLetterPage> DeadLetters, string? NextCursor);

/// <summary>The decision on a dead letter.</summary>
public sealed record DeadLetterDecision(long DeadLetterId, string State);

/// <summary>The body that rejects a dead letter, as OpenAPI shows it.</summary>
public sealed record RejectBody(string Reason);

/// <summary>/api/v1/dead-letters: the reservations that an operator must decide.</summary>
public static class DeadLetterEndpoints
{
    /// <summary>Registers the services of the endpoints.</summary>
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

    // A decision that has begun is carried through, even if the operator does not wait any more.
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
