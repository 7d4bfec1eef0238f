using System.Buffers;
using System.Diagnostics;
using FlashSale.Admission;
using FlashSale.Api.Admission;
using FlashSale.Api.Protection;
using FlashSale.Api.Sales;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>
/// POST /api/v1/sales/{saleId}/orders as a whole. It runs before routing. Most shoppers of a flash sale get "sold out",
/// and that answer should cost little more than reading the request.
/// </summary>
public sealed class PurchaseEndpoint(
    JwtVerifier tokens, Degradation degradation, LoadShedder shedder, RequestLimiter limiter, BlocklistFeed blocklist, Tickets tickets,
    Storefront storefront, RedisConnection redis, PurchaseMetrics metrics, PurchaseOptions options, TimeProvider time, ILogger<PurchaseEndpoint> logger)
{
    private const string PathStart = "/api/v1/sales/";
    private const string PathEnd = "/orders";

    /// <summary>Answers purchases and passes every other request on.</summary>
    public RequestDelegate Before(RequestDelegate next) => context => IsPurchase(context.Request) ? PurchaseAsync(context) : next(context);

    /// <summary>Answers a purchase that came through routing. OpenAPI describes this endpoint.</summary>
    public Task HandleAsync(HttpContext context) => PurchaseAsync(context);

    // Matches like routing, which ignores case and a slash at the end.
    private static bool IsPurchase(HttpRequest request)
    {
        var path = PathOf(request);
        return HttpMethods.IsPost(request.Method) && path.StartsWith(PathStart, StringComparison.OrdinalIgnoreCase) && path.EndsWith(PathEnd, StringComparison.OrdinalIgnoreCase)
            && path.Length > PathStart.Length + PathEnd.Length && !SaleIdOf(request).Contains('/');
    }

    private static ReadOnlySpan<char> PathOf(HttpRequest request)
    {
        var path = request.Path.Value.AsSpan();
        return path.EndsWith('/') ? path[..^1] : path;
    }

    private static ReadOnlySpan<char> SaleIdOf(HttpRequest request) => PathOf(request)[PathStart.Length..^PathEnd.Length];

    // The cheapest refusals come first. While purchases are suspended or too many are under way, the node does not look
    // at the request.
    private Task PurchaseAsync(HttpContext context) =>
        degradation.IsOff(Features.Purchases) ? RefuseAsync(context, PurchaseProblems.Suspended)
        : shedder.IsFull ? ShedAsync(context)
        : DecideAsync(context);

    private async Task ShedAsync(HttpContext context)
    {
        await shedder.HoldRefusedAsync();
        await RefuseAsync(context, RequestGuard.Overloaded);
    }

    private async Task DecideAsync(HttpContext context)
    {
        try
        {
            var request = context.Request;
            var token = tokens.Verify(request.Headers.Authorization.ToString(), out var userId, out var client);
            var isKnown = token is JwtResult.Ok;
            var userHash = isKnown ? Fingerprints.OfUser(userId) : 0;
            if (await IsLimitedAsync(context, isKnown ? userHash : null, client)) return;
            if (!isKnown)
            {
                metrics.Refused(Problem.Unauthenticated.Code);
                await RefusedTokens.RefuseAsync(context, token);
                return;
            }
            if (blocklist.Blocks(userHash, client, context.Connection.RemoteIpAddress))
            {
                await RefuseAsync(context, PurchaseProblems.UserBlocked);
                return;
            }
            if (RefusedUnread(request) is { } unread)
            {
                await RefuseAsync(context, unread);
                return;
            }
            if (EncodedBody.IsIn(request))
            {
                metrics.Refused(Problem.UnsupportedMediaType.Code);
                await EncodedBody.RefuseAsync(context);
                return;
            }
            var (fits, body) = await PurchaseBody.ReadAsync(request.BodyReader);
            if (!fits)
            {
                await RefuseAsync(context, Problem.BodyTooLarge);
                return;
            }
            var wanted = Read(request, body);
            request.BodyReader.AdvanceTo(body.End);
            if (wanted.Problem is { } wrong)
            {
                await RefuseAsync(context, wrong, wanted.Errors);
                return;
            }

            var (sale, item) = (wanted.Sale!, wanted.Item!);
            if (RefusedHere(sale, item, userHash) is { } known)
            {
                await RefuseAsync(context, known, sale: sale);
                return;
            }
            var orderId = OrderId.New(time.GetUtcNow().ToUnixTimeMilliseconds(), userHash, sale.Published.Number);
            var record = ReservationCodec.Encode(orderId, userHash, item.Published.Number, item.Published.Sku, userId, wanted.Key!,
                wanted.Quantity, item.Published.Price * wanted.Quantity, item.Published.Currency);
            var ticket = sale.Published.RequiresTicket ? tickets.Read(request.Headers[Tickets.Header], sale.Published.SaleId, userId) : null;
            // Enter the shedder only after the body is read. Otherwise slow uploads would hold places that waiting
            // purchases need.
            if (!shedder.TryEnter())
            {
                await ShedAsync(context);
                return;
            }
            await AnswerAsync(context, wanted, orderId, await ReserveAsync(sale, item, record, ticket));
        }
        catch (Exception e)
        {
            await Problems.FailAsync(context, e, logger);
        }
    }

    // Refuses by the rate limits, or because only a share of the users may buy. Completes at once unless a rule counts
    // in Redis.
    private async ValueTask<bool> IsLimitedAsync(HttpContext context, ulong? user, ulong client)
    {
        var request = RequestGuard.Describe(context, user, client);
        if (await RequestGuard.WriteAsync(context, await limiter.DecideAsync(request)))
        {
            metrics.Refused(RequestGuard.RateLimited.Code);
            return true;
        }
        if (user is null || limiter.MayBuy(degradation, request)) return false;
        await RefuseAsync(context, PurchaseProblems.Suspended);
        return true;
    }

    private static Problem? RefusedUnread(HttpRequest request) =>
        !HasJson(request.ContentType) ? Problem.UnsupportedMediaType
        : request.ContentLength > PurchaseBody.MaxBytes ? Problem.BodyTooLarge
        : null;

    // The contract sets the order of refusals: body, key, sale, item.
    private Wanted Read(HttpRequest request, in ReadOnlySequence<byte> body)
    {
        Span<char> sku = stackalloc char[PurchaseBody.MaxSku];
        if (PurchaseBody.Parse(body, sku, out var length, out var quantity) is { } errors) return new(Problem.InvalidRequest, errors);
        if (!IdempotencyKey.TryRead(request.Headers[IdempotencyKey.Header], out var key))
            return key is null ? new(Problem.InvalidRequest, IdempotencyKey.Invalid) : new(IdempotencyKey.Missing, null);
        if (storefront.Find(SaleIdOf(request)) is not { } sale) return new(PurchaseProblems.SaleNotFound, null);
        if (sale.Find(sku[..length]) is not { } item) return new(PurchaseProblems.ItemNotFound, null);
        return new(null, null) { Sale = sale, Item = item, Quantity = quantity, Key = key };
    }

    // Refusals that this node knows without asking Redis. A user that holds a reservation never gets one of them.
    private Problem? RefusedHere(SaleOnSale sale, ItemOnSale item, ulong userHash)
    {
        var redisNow = redis.NowMilliseconds;
        var now = Environment.TickCount64;
        if (sale.IsNotOpen(redisNow)) return PurchaseProblems.SaleNotOpen;
        if (sale.IsClosedFor(userHash, redisNow, now)) return PurchaseProblems.SaleClosed;
        // The mark is read before the buyers, because the buyers are loaded before the mark is set.
        return sale.Published.Status is not FlashSale.Sales.SaleStatus.Paused && item.SoldOut.Refuses(now) && !sale.Buyers.Contains(userHash)
            ? PurchaseProblems.SoldOut
            : null;
    }

    // Gives back the place that the purchase took from the shedder.
    private async Task<GateResult> ReserveAsync(SaleOnSale sale, ItemOnSale item, byte[] record, byte[]? ticket)
    {
        var (enteredAt, askedAt) = (Stopwatch.GetTimestamp(), Environment.TickCount64);
        var result = await sale.Gate.ReserveAsync(record, ticket);
        // While Redis is away answers come faster than without load. Measuring them would make the shedder take on
        // more.
        if (result.Outcome is GateOutcome.Unavailable) shedder.LeaveUnmeasured();
        else shedder.Leave(enteredAt);
        if (result is { Outcome: GateOutcome.Decided, Decision.Code: ReserveCode.OtherEpoch })
        {
            // The sale was loaded again since this node last looked. Refresh the catalog and ask once more.
            try
            {
                await storefront.RefreshAsync().WaitAsync(options.Deadline);
                result = await sale.Gate.ReserveAsync(record, ticket);
            }
            catch (Exception)
            {
                // The catalog was not refreshed in time. Nothing was bought.
                return new(GateOutcome.Unavailable, default);
            }
        }
        Learn(sale, item, askedAt, result);
        return result;
    }

    private static void Learn(SaleOnSale sale, ItemOnSale item, long askedAt, GateResult result)
    {
        switch (result.Decision.Code)
        {
            case ReserveCode.SoldOut or ReserveCode.AcceptedLast:
                _ = item.SoldOut.SetAsync(askedAt, sale.Buyers);
                break;
            case ReserveCode.Resting:
                _ = item.SoldOut.SetForAsync(askedAt, result.Decision.RestsFor, sale.Buyers);
                break;
            case ReserveCode.Accepted or ReserveCode.FewerLeft:
                item.SoldOut.Clear();
                break;
            default:
                item.SoldOut.ProbeEndedUndecided();
                break;
        }
    }

    private Task AnswerAsync(HttpContext context, in Wanted wanted, Guid orderId, GateResult result)
    {
        if (result.Outcome is GateOutcome.Unavailable) return RefuseAsync(context, PurchaseProblems.TemporarilyUnavailable);
        if (result.Outcome is GateOutcome.Unknown) return RefuseAsync(context, PurchaseProblems.OutcomeUnknown);
        var decision = result.Decision;
        if (PurchaseProblems.Of(decision.Code) is { } problem) return RefuseAsync(context, problem, sale: wanted.Sale);
        var replayed = decision.Code is ReserveCode.Replay;
        metrics.Accepted(replayed);
        return AcceptedAnswer.WriteAsync(context, wanted.Item!, replayed ? decision.OrderId : orderId, wanted.Quantity, decision.AcceptedAt, replayed);
    }

    private Task RefuseAsync(HttpContext context, Problem problem, IReadOnlyList<ProblemError>? errors = null, SaleOnSale? sale = null)
    {
        metrics.Refused(problem.Code);
        int? retryAfter = ReferenceEquals(problem, PurchaseProblems.SaleNotOpen) ? PurchaseProblems.SecondsToOpening(sale!.Published.OpensAt, redis.NowMilliseconds) : null;
        return Problems.WriteAsync(context, problem, errors: errors, retryAfterSeconds: retryAfter);
    }

    private static bool HasJson(string? contentType)
    {
        var type = contentType.AsSpan();
        var parameters = type.IndexOf(';');
        return (parameters < 0 ? type : type[..parameters]).Trim().Equals("application/json", StringComparison.OrdinalIgnoreCase);
    }

    // The purchase that a request asks for, or the problem of the request.
    private readonly record struct Wanted(Problem? Problem, IReadOnlyList<ProblemError>? Errors)
    {
        public SaleOnSale? Sale { get; init; }

        public ItemOnSale? Item { get; init; }

        public int Quantity { get; init; }

        public string? Key { get; init; }
    }
}
