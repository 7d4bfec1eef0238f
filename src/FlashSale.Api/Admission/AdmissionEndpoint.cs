using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Text.Json;
using System.Text.Json.Serialization;
using FlashSale.Admission;
using FlashSale.Api.Protection;
using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Polly.CircuitBreaker;

namespace FlashSale.Api.Admission;

/// <summary>
/// POST /api/v1/sales/{saleId}/admission: a ticket for one purchase, while the sale is open, no faster than the sale
/// admits, and, while challenges are on, only for a solved one. A user who has a ticket that can still buy gets that one again.
/// </summary>
public sealed class AdmissionEndpoint(
    JwtVerifier tokens, Degradation degradation, LoadShedder shedder, BlocklistFeed blocklist, Storefront storefront, SaleLooks looks,
    Tickets tickets, Challenges challenges, ChallengeSwitch challenge, AdmitScript script,
    RequestLimiter limiter, RedisConnection redis, [FromKeyedServices(Dependency.Redis)] Dependency breaker, AdmissionOptions options, PurchaseOptions purchases)
{
    // At the lowest rate, one a second.
    private const int LongestWaitMilliseconds = 1_000;

    private static readonly Problem ChallengeRequired = new(403, "challenge_required", "Solve the challenge and send its solution.");
    private static readonly IReadOnlyList<ProblemError> InvalidBody = [new("body", "must be empty or a JSON object {\"solution\":\"…\"}")];

    private static readonly Counter<long> Admissions =
        new Meter("FlashSale.Api").CreateCounter<long>("flashsale_admissions_total", description: "Requests for admission answered, by result.");

    // Redis TIME before which a sale's token bucket cannot hold a token, whatever others do: until then the node refuses by itself.
    private readonly ConcurrentDictionary<string, long> _emptyUntil = new(StringComparer.Ordinal);

    /// <summary>Answers a request.</summary>
    public async Task AdmitAsync(HttpContext context, string saleId)
    {
        if (degradation.IsOff(Features.Purchases))
        {
            await RefuseAsync(context, PurchaseProblems.Suspended);
            return;
        }
        if (shedder.IsFull)
        {
            await ShedAsync(context);
            return;
        }
        if (tokens.Verify(context.Request.Headers.Authorization.ToString(), out var userId, out var client) is not JwtResult.Ok and var refused)
        {
            Count(Problem.Unauthenticated.Code);
            await RefusedTokens.RefuseAsync(context, refused);
            return;
        }
        if (RefusedWho(context, Fingerprints.OfUser(userId), client) is { } who)
        {
            await RefuseAsync(context, who);
            return;
        }
        await AdmitAsync(context, saleId, userId);
    }

    private async Task AdmitAsync(HttpContext context, string saleId, string userId)
    {
        var (form, unread) = await ReadAsync(context.Request);
        if (form is null)
        {
            await RefuseAsync(context, unread!);
            return;
        }
        if (storefront.Find(saleId) is not { } sale)
        {
            await RefuseAsync(context, PurchaseProblems.SaleNotFound);
            return;
        }
        if (await RefusedHereAsync(sale) is { } known)
        {
            await RefuseAsync(context, known, sale);
            return;
        }
        SolvedChallenge? solved = null;
        if (challenge.IsOn)
        {
            solved = form.Solution is { } solution ? challenges.Check(solution, saleId, userId, redis.NowMilliseconds) : null;
            if (solved is null)
            {
                await ChallengeAsync(context, saleId, userId);
                return;
            }
        }
        // Those who ask for admission and those who buy share what the node takes on.
        if (!shedder.TryEnter())
        {
            await ShedAsync(context);
            return;
        }
        await AnswerAsync(context, sale, userId, await AskAsync(sale, new(Fingerprints.OfUser(userId), solved, options.TicketSeconds * 1_000L)));
    }

    private async Task ShedAsync(HttpContext context)
    {
        await shedder.HoldRefusedAsync();
        await RefuseAsync(context, RequestGuard.Overloaded);
    }

    // A ticket that could not be used would only keep others from theirs.
    private Problem? RefusedWho(HttpContext context, ulong user, ulong client) =>
        blocklist.Blocks(user, client, context.Connection.RemoteIpAddress) ? PurchaseProblems.UserBlocked
        : limiter.MayBuy(degradation, RequestGuard.Describe(context, user, client)) ? null
        : PurchaseProblems.Suspended;

    private static async Task<(AdmissionForm? Form, Problem? Refused)> ReadAsync(HttpRequest request)
    {
        var (fits, body) = await PurchaseBody.ReadAsync(request.BodyReader);
        if (!fits) return (null, Problem.BodyTooLarge);
        try
        {
            return body.IsEmpty ? (new AdmissionForm(), null)
                : request.HasJsonContentType() ? (JsonSerializer.Deserialize(Utf8Text.WithoutMark(body.ToArray()), AdmissionJson.Default.AdmissionForm), Problem.InvalidRequest)
                : (null, Problem.UnsupportedMediaType);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The latter: text that is no UTF-8, or half a surrogate pair.
            return (null, Problem.InvalidRequest);
        }
        finally
        {
            request.BodyReader.AdvanceTo(body.End);
        }
    }

    // Nobody is owed an admission, so the node's own knowledge counts for all. Whether a sale is paused, Redis knows sooner.
    private async ValueTask<Problem?> RefusedHereAsync(SaleOnSale sale)
    {
        var now = redis.NowMilliseconds;
        if (sale.IsNotOpen(now)) return PurchaseProblems.SaleNotOpen;
        if (sale.Published.PhaseAt(now) is SalePhase.Closed) return PurchaseProblems.SaleClosed;
        // A ticket, and the work for it, would be of no use: the purchase would be told the same.
        return await looks.IsSoldOutAsync(sale) ? PurchaseProblems.SoldOut : null;
    }

    // Null: Redis is away, or has not answered in time. Gives back the place that the request was given.
    private async Task<(SaleOnSale Sale, AdmitDecision Decision)?> AskAsync(SaleOnSale sale, AdmissionRequest asked)
    {
        try
        {
            var wait = _emptyUntil.GetValueOrDefault(sale.Published.SaleId) - redis.NowMilliseconds;
            // Longer than any bucket keeps anybody waiting: Redis' clock was set back.
            if (wait is > 0 and <= LongestWaitMilliseconds) return (sale, new(AdmitCode.RateLimited, 0, wait));
            var decision = await CallAsync(sale, asked);
            if (decision.Code is AdmitCode.OtherEpoch)
            {
                // The sale was loaded again since this node last looked: look, and ask once more.
                await storefront.RefreshAsync().WaitAsync(purchases.Deadline);
                sale = storefront.Find(sale.Published.SaleId) ?? sale;
                decision = await CallAsync(sale, asked);
            }
            if (decision.Code is AdmitCode.RateLimited) _emptyUntil[sale.Published.SaleId] = decision.Now + decision.WaitMilliseconds;
            return (sale, decision);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException or BrokenCircuitException or TimeoutException)
        {
            return null;
        }
        finally
        {
            shedder.LeaveUnmeasured();
        }
    }

    // Through the purchases' breaker: while Redis is away nobody waits for it.
    private ValueTask<AdmitDecision> CallAsync(SaleOnSale sale, AdmissionRequest asked) => breaker.Breaker.ExecuteAsync(
        static (call, _) => new ValueTask<AdmitDecision>(call.Script.AdmitAsync(call.Sale.Keys, call.Sale.Published.Epoch, call.NotAfter, call.Asked, call.Deadline)),
        (Script: script, Sale: sale, NotAfter: redis.NowMilliseconds + purchases.DeadlineMilliseconds, Asked: asked, purchases.Deadline));

    private Task AnswerAsync(HttpContext context, SaleOnSale sale, string userId, (SaleOnSale Sale, AdmitDecision Decision)? answer)
    {
        if (answer is not { } asked) return RefuseAsync(context, Problem.TemporarilyUnavailable);
        var saleId = sale.Published.SaleId;
        return asked.Decision.Code switch
        {
            AdmitCode.Admitted => AdmittedAsync(context, saleId, userId, asked.Decision.Ticket!),
            AdmitCode.NotLoaded or AdmitCode.NotVerified or AdmitCode.OtherEpoch or AdmitCode.TooLate => RefuseAsync(context, Problem.TemporarilyUnavailable),
            AdmitCode.Paused => RefuseAsync(context, PurchaseProblems.SalePaused),
            AdmitCode.NotOpen => RefuseAsync(context, PurchaseProblems.SaleNotOpen, sale),
            AdmitCode.Closed => RefuseAsync(context, PurchaseProblems.SaleClosed),
            AdmitCode.SolutionUsed => ChallengeAsync(context, saleId, userId),
            AdmitCode.RateLimited => RefuseAsync(context, RequestGuard.RateLimited, waitMilliseconds: asked.Decision.WaitMilliseconds),
        };
    }

    private Task AdmittedAsync(HttpContext context, string saleId, string userId, byte[] ticket)
    {
        Count("admitted");
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteAsJsonAsync(
            new TicketPage(tickets.Sign(saleId, userId, ticket), Timestamps.Text(Tickets.ExpiryOf(ticket))), AdmissionJson.Default.TicketPage);
    }

    private Task ChallengeAsync(HttpContext context, string saleId, string userId)
    {
        Count(ChallengeRequired.Code);
        context.Response.Headers.CacheControl = "no-store";
        var (first, second) = challenges.Issue(saleId, userId, redis.NowMilliseconds);
        return Problems.WriteAsync(context, ChallengeRequired, members: json =>
        {
            json.WritePropertyName("challenge");
            JsonSerializer.Serialize(json, first, AdmissionJson.Default.ProofOfWork);
            json.WritePropertyName("challengeV2");
            JsonSerializer.Serialize(json, second, AdmissionJson.Default.ProofOfWorkV2);
        });
    }

    private Task RefuseAsync(HttpContext context, Problem problem, SaleOnSale? notOpenYet = null, long? waitMilliseconds = null)
    {
        Count(problem.Code);
        // Beyond what the bucket needs, some chance: those who were refused together do not come back together.
        int? retryAfter = waitMilliseconds is { } wait ? (int)((wait + 999) / 1000) + Random.Shared.Next(0, 3)
            : ReferenceEquals(problem, PurchaseProblems.SaleNotOpen) ? PurchaseProblems.SecondsToOpening(notOpenYet!.Published.OpensAt, redis.NowMilliseconds)
            : null;
        return Problems.WriteAsync(context, problem, errors: ReferenceEquals(problem, Problem.InvalidRequest) ? InvalidBody : null, retryAfterSeconds: retryAfter);
    }

    private static void Count(string result) => Admissions.Add(1, KeyValuePair.Create<string, object?>("result", result));
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, AllowDuplicateProperties = false)]
[JsonSerializable(typeof(AdmissionForm))]
[JsonSerializable(typeof(TicketPage))]
[JsonSerializable(typeof(ProofOfWork))]
[JsonSerializable(typeof(ProofOfWorkV2))]
internal sealed partial class AdmissionJson : JsonSerializerContext;
