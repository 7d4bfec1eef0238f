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
/// POST /api/v1/sales/{saleId}/admission: gives a ticket for one purchase. The sale must be open, and all nodes
/// together give no more tickets per second than the sale admits. While challenges are on, the request must bring a
/// solved one. A user with a ticket that can still buy gets that ticket again.
/// </summary>
public sealed class AdmissionEndpoint(
    JwtVerifier tokens, Degradation degradation, LoadShedder shedder, BlocklistFeed blocklist, Storefront storefront, SaleLooks looks,
    Tickets tickets, Challenges challenges, ChallengeSwitch challenge, AdmitScript script,
    RequestLimiter limiter, RedisConnection redis, [FromKeyedServices(Dependency.Redis)] Dependency breaker, AdmissionOptions options, PurchaseOptions purchases)
{
    // The lowest admission rate is one ticket per second, so no bucket stays empty for longer.
    private const int LongestWaitMilliseconds = 1_000;

    private static readonly Problem ChallengeRequired = new(403, "challenge_required", "Solve the challenge and send its solution.");
    private static readonly IReadOnlyList<ProblemError> InvalidBody = [new("body", "must be empty or a JSON object {\"solution\":\"…\"}")];

    private static readonly Counter<long> Admissions =
        new Meter("FlashSale.Api").CreateCounter<long>("flashsale_admissions_total", description: "Requests for admission answered, by result.");

    // By sale id: the Redis TIME (Unix ms) before which the sale's token bucket cannot hold a token, even if nobody
    // takes one. Until then the node refuses by itself.
    private readonly ConcurrentDictionary<string, long> _emptyUntil = new(StringComparer.Ordinal);

    /// <summary>Answers a request with 200 and a ticket, or with a problem.</summary>
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
        // Admissions and purchases share one limit on the requests under way.
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

    // A blocked or suspended user gets no ticket. It would be of no use, and would be missing for another user.
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
            // InvalidOperationException: the text is not UTF-8, or it holds half a surrogate pair.
            return (null, Problem.InvalidRequest);
        }
        finally
        {
            request.BodyReader.AdvanceTo(body.End);
        }
    }

    // The node may refuse any user by its own knowledge, because nobody is owed an admission. (A buyer's retry is owed
    // its 202.) A pause is left to Redis, which knows of it sooner.
    private async ValueTask<Problem?> RefusedHereAsync(SaleOnSale sale)
    {
        var now = redis.NowMilliseconds;
        if (sale.IsNotOpen(now)) return PurchaseProblems.SaleNotOpen;
        if (sale.Published.PhaseAt(now) is SalePhase.Closed) return PurchaseProblems.SaleClosed;
        // A ticket, and the work for its challenge, would be useless: the purchase would be answered "sold out" as
        // well.
        return await looks.IsSoldOutAsync(sale) ? PurchaseProblems.SoldOut : null;
    }

    // Null means that Redis is away or has not answered in time. Gives back the place that the request took from the
    // shedder.
    private async Task<(SaleOnSale Sale, AdmitDecision Decision)?> AskAsync(SaleOnSale sale, AdmissionRequest asked)
    {
        try
        {
            var wait = _emptyUntil.GetValueOrDefault(sale.Published.SaleId) - redis.NowMilliseconds;
            // No bucket can demand a longer wait, so a longer one means that the clock of Redis was set back. Redis is
            // asked then.
            if (wait is > 0 and <= LongestWaitMilliseconds) return (sale, new(AdmitCode.RateLimited, 0, wait));
            var decision = await CallAsync(sale, asked);
            if (decision.Code is AdmitCode.OtherEpoch)
            {
                // The sale was loaded again since this node last looked. Refresh the catalog and ask once more.
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

    // The call goes through the breaker of purchases, so that no request waits for Redis while Redis is away.
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
        // Up to two random seconds are added to the bucket's wait, so that shoppers that were refused together do not
        // come back together.
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
