using FlashSale.Admin.Access;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Admin.Http;

/// <summary>An answer that is a problem (RFC 9457).</summary>
public sealed class ProblemAnswer(Problem problem, string? detail = null, IReadOnlyList<ProblemError>? errors = null) : IResult
{
    /// <inheritdoc />
    public Task ExecuteAsync(HttpContext httpContext) => Problems.WriteAsync(httpContext, problem, detail, errors);
}

/// <summary>The only place that turns refusals and failures into HTTP.</summary>
public static class AdminProblems
{
    private const int SkusShown = 10;

    private static readonly Problem NoSale = new(404, "sale_not_found", "There is no such sale.");
    private static readonly Problem NoItem = new(404, "item_not_found", "The sale has no such item.");
    private static readonly Problem NoOrder = new(404, "order_not_found", "There is no such order in Postgres.");
    private static readonly Problem NotRefundable = new(409, "order_not_refundable", "Only a paid order can be refunded.");
    private static readonly Problem NotCancellable = new(409, "order_not_cancellable", "Only an order that waits for its payment can be cancelled.");
    private static readonly Problem NoDeadLetter = new(404, "dead_letter_not_found", "There is no such dead letter.");
    private static readonly Problem NoBlock = new(404, "blocklist_entry_not_found", "There is no such entry in the blocklist.");
    private static readonly Problem NoEntry = new(404, "audit_entry_not_found", "There is no such entry in the audit log.");
    private static readonly Problem StateConflict = new(409, "sale_state_conflict", "The sale is not in a state for this.");
    private static readonly Problem StockBelowSold = new(409, "stock_below_sold", "The stock cannot go below what is sold or in flight.");
    private static readonly Problem StockTooLarge = new(409, "stock_too_large", $"The stock of an item cannot exceed {SaleBounds.MaxStock:N0} units.");
    private static readonly Problem LetterResolved = new(409, "dead_letter_resolved", "The dead letter was decided before.");
    private static readonly Problem LetterStillRefused = new(409, "dead_letter_still_refused", "The dead letter still cannot be stored.");
    private static readonly Problem KeyReused = new(422, "idempotency_key_reused", "This Idempotency-Key was used for another change of this item.");

    private static readonly Problem Changed = new(412, "precondition_failed", "It has changed since it was read.");

    // Clients know the code. The title sets these answers apart, because here the change was kept.
    private static readonly Problem Recorded = Problem.TemporarilyUnavailable with { Title = "The change is recorded, but not applied everywhere yet." };

    /// <summary>404: there is no such sale.</summary>
    public static IResult SaleNotFound => new ProblemAnswer(NoSale);

    /// <summary>404: the sale has no such item. The detail names its first items.</summary>
    public static IResult ItemNotFound(IReadOnlyList<string> skus) =>
        new ProblemAnswer(NoItem, $"It has {string.Join(", ", skus.Take(SkusShown))}{(skus.Count > SkusShown ? $" and {skus.Count - SkusShown} more" : "")}.");

    /// <summary>404: there is no such dead letter.</summary>
    public static IResult DeadLetterNotFound => new ProblemAnswer(NoDeadLetter);

    /// <summary>404: there is no such order in Postgres, or not yet.</summary>
    public static IResult OrderNotFound => new ProblemAnswer(NoOrder);

    /// <summary>404: there is no such entry of the blocklist.</summary>
    public static IResult BlockNotFound => new ProblemAnswer(NoBlock);

    /// <summary>503: a change of the blocklist is in Postgres and not in Redis yet.</summary>
    public static IResult BlockNotPublished => new ProblemAnswer(Recorded,
        "Redis does not answer, or has other changes to take first. A worker publishes the change as soon as it can; the request may be repeated.");

    /// <summary>404: there is no such entry of the audit log.</summary>
    public static IResult AuditEntryNotFound => new ProblemAnswer(NoEntry);

    /// <summary>409: the order is not paid, so it cannot be refunded.</summary>
    public static IResult OrderNotRefundable(string status) => new ProblemAnswer(NotRefundable, $"The order is {status}.");

    /// <summary>409: the order does not wait for its payment, so it cannot be cancelled.</summary>
    public static IResult OrderNotCancellable(string status) => new ProblemAnswer(NotCancellable, $"The order is {status}.");

    /// <summary>400: the request has these errors.</summary>
    public static IResult Invalid(IReadOnlyList<ProblemError> errors) => new ProblemAnswer(Problem.InvalidRequest, errors: errors);

    /// <summary>415: the body is of another media type.</summary>
    public static IResult UnsupportedMediaType(string wanted) => new ProblemAnswer(Problem.UnsupportedMediaType, $"The body must be {wanted}.");

    /// <summary>409: the state of the sale does not allow the request.</summary>
    public static IResult Conflict(string detail) => new ProblemAnswer(StateConflict, detail);

    /// <summary>412: the sale or document has another version than If-Match names.</summary>
    public static IResult PreconditionFailed => new ProblemAnswer(Changed, "Read it again, and repeat the change with the ETag of that answer.");

    /// <summary>403: in the state of the sale, the request needs a higher role than the token has.</summary>
    public static IResult Forbidden(string detail) => new ProblemAnswer(TokenGate.Forbidden, detail);

    /// <summary>503: a store cannot be asked, or too many such requests are under way.</summary>
    public static IResult Unavailable(string detail) => new ProblemAnswer(Problem.TemporarilyUnavailable, detail);

    /// <summary>503: a load did not come to its end. The worker or a repeated request brings it there.</summary>
    public static IResult NotLoaded(string detail) => new ProblemAnswer(Problem.TemporarilyUnavailable with { Title = "The sale was not loaded." }, detail);

    /// <summary>503: the change is kept in Postgres, but the nodes do not know it yet.</summary>
    public static IResult NotPublished => new ProblemAnswer(Recorded, "Redis does not answer. The worker publishes the change as soon as it does; the request may be repeated.");

    /// <summary>The answer to a change of a draft: 204 when it was made.</summary>
    public static IResult Of(DraftResult result) => result switch
    {
        DraftResult.Done => Results.NoContent(),
        DraftResult.SaleNotFound => SaleNotFound,
        DraftResult.TooManyItems => Invalid([new("body", $"the sale would have more than {SaleBounds.MaxItems} items")]),
        DraftResult.NotDraft => Conflict("The sale has been preloaded; only a draft can be changed or deleted."),
        DraftResult.Changed => PreconditionFailed,
    };

    /// <summary>The answer to an action on a sale.</summary>
    public static IResult Of(SaleAction action, Transition transition, Func<Transition, IResult> done) => transition.Result switch
    {
        TransitionResult.Done => done(transition),
        TransitionResult.SaleNotFound => SaleNotFound,
        TransitionResult.Conflict => Conflict($"The sale is {transition.Phase}; {Needs(action)}."),
        TransitionResult.NoTime => Unavailable("Redis does not answer, and a sale is opened at Redis' time."),
        TransitionResult.NotPublished => NotPublished,
    };

    /// <summary>The answer to a move of a sale's window.</summary>
    public static IResult Of(WindowMove move, Func<WindowMove, IResult> done) => move.Result switch
    {
        WindowResult.Done => done(move),
        WindowResult.SaleNotFound => SaleNotFound,
        WindowResult.Conflict => Conflict(move.Detail),
        WindowResult.Invalid => Invalid([new(move.Field, move.Detail)]),
        WindowResult.Changed => PreconditionFailed,
        WindowResult.NotPublished => NotPublished,
    };

    /// <summary>The answer to a change of stock.</summary>
    public static IResult Of(StockChangeAnswer answer, Func<StockChangeAnswer, IResult> applied) => answer.Result switch
    {
        StockChangeResult.Applied => applied(answer),
        StockChangeResult.BelowSold => new ProblemAnswer(StockBelowSold),
        StockChangeResult.TooLarge => new ProblemAnswer(StockTooLarge),
        StockChangeResult.NoMemory => new ProblemAnswer(Problem.TemporarilyUnavailable with { Title = "Redis has no memory for these units." }, answer.Reason),
        StockChangeResult.SaleNotFound => SaleNotFound,
        StockChangeResult.ItemNotFound => new ProblemAnswer(NoItem),
        StockChangeResult.SaleClosed => Conflict("The sale is closed."),
        StockChangeResult.KeyReused => new ProblemAnswer(KeyReused),
        StockChangeResult.Unfinished => new ProblemAnswer(Recorded,
            "The sale cannot be reached in Redis. The worker finishes the change as soon as it can; repeat the request with the same Idempotency-Key to learn the outcome."),
    };

    /// <summary>The answer to a decision on a dead letter.</summary>
    public static IResult Of(DeadLetterOutcome outcome, Func<IResult> resolved) => outcome switch
    {
        DeadLetterOutcome.Resolved => resolved(),
        DeadLetterOutcome.NotFound => DeadLetterNotFound,
        DeadLetterOutcome.AlreadyResolved => new ProblemAnswer(LetterResolved),
        DeadLetterOutcome.StillRefused => new ProblemAnswer(LetterStillRefused),
    };

    private static string Needs(SaleAction action) => action switch
    {
        SaleAction.Open => "only a scheduled sale can be opened",
        SaleAction.Pause => "only a scheduled or open sale can be paused",
        SaleAction.Resume => "only a paused sale can be resumed",
        SaleAction.Close => "only a preloaded sale that is not closed can be closed",
    };
}
