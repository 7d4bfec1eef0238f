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
using Microsoft.OpenApi;
using Polly.CircuitBreaker;

namespace FlashSale.Api.Admission;

/// <summary>What a request for admission may hold.</summary>
/// <param name="Solution">The answer to a challenge, as a widget makes it; not looked at while there are no challenges.</param>
public sealed record AdmissionForm(string? Solution = null);

/// <summary>An admission.</summary>
/// <param name="Ticket">To be sent with the purchase, as it is.</param>
/// <param name="ExpiresAt">Redis TIME from which it is worth nothing.</param>
public sealed record TicketPage(string Ticket, string ExpiresAt);

/// <summary>
/// POST /api/v1/sales/{saleId}/admission: a ticket for one purchase, while the sale is open, no faster than the sale
/// admits, and, while challenges are on, only for a solved one.
/// </summary>
public sealed class AdmissionEndpoint(
    JwtVerifier tokens, Degradation degradation, LoadShedder shedder, BlocklistFeed blocklist, Storefront storefront, Tickets tickets, Challenges challenges, ChallengeSwitch challenge, AdmitScript script,
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
        if (RefusedHere(sale) is { } known)
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
        await AnswerAsync(context, sale, userId, await AskAsync(sale, solved));
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
                : request.HasJsonContentType() ? (JsonSerializer.Deserialize(body.ToArray(), AdmissionJson.Default.AdmissionForm), Problem.InvalidRequest)
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

    // Nobody is owed an admission: what the node knows counts for all. Whether a sale is paused, Redis knows sooner.
    private Problem? RefusedHere(SaleOnSale sale)
    {
        var now = redis.NowMilliseconds;
        return sale.IsNotOpen(now) ? PurchaseProblems.SaleNotOpen
            : sale.Published.PhaseAt(now) is SalePhase.Closed ? PurchaseProblems.SaleClosed
            : null;
    }

    // Null: Redis is away, or has not answered in time. Gives back the place that the request was given.
    private async Task<(SaleOnSale Sale, AdmitDecision Decision)?> AskAsync(SaleOnSale sale, SolvedChallenge? solved)
    {
        try
        {
            var wait = _emptyUntil.GetValueOrDefault(sale.Published.SaleId) - redis.NowMilliseconds;
            // Longer than any bucket keeps anybody waiting: Redis' clock was set back.
            if (wait is > 0 and <= LongestWaitMilliseconds) return (sale, new(AdmitCode.RateLimited, 0, wait));
            var decision = await CallAsync(sale, solved);
            if (decision.Code is AdmitCode.OtherEpoch)
            {
                // The sale was loaded again since this node last looked: look, and ask once more.
                await storefront.RefreshAsync().WaitAsync(purchases.Deadline);
                sale = storefront.Find(sale.Published.SaleId) ?? sale;
                decision = await CallAsync(sale, solved);
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
    private ValueTask<AdmitDecision> CallAsync(SaleOnSale sale, SolvedChallenge? solved) => breaker.Breaker.ExecuteAsync(
        static (call, _) => new ValueTask<AdmitDecision>(call.Script.AdmitAsync(call.Sale.Keys, call.Sale.Published.Epoch, call.NotAfter, call.Solved, call.Deadline)),
        (Script: script, Sale: sale, NotAfter: redis.NowMilliseconds + purchases.DeadlineMilliseconds, Solved: solved, purchases.Deadline));

    private Task AnswerAsync(HttpContext context, SaleOnSale sale, string userId, (SaleOnSale Sale, AdmitDecision Decision)? answer)
    {
        if (answer is not { } asked) return RefuseAsync(context, Problem.TemporarilyUnavailable);
        var saleId = sale.Published.SaleId;
        return asked.Decision.Code switch
        {
            AdmitCode.Admitted => AdmittedAsync(context, asked.Sale.Published, userId, asked.Decision.Now),
            AdmitCode.NotLoaded or AdmitCode.NotVerified or AdmitCode.OtherEpoch or AdmitCode.TooLate => RefuseAsync(context, Problem.TemporarilyUnavailable),
            AdmitCode.Paused => RefuseAsync(context, PurchaseProblems.SalePaused),
            AdmitCode.NotOpen => RefuseAsync(context, PurchaseProblems.SaleNotOpen, sale),
            AdmitCode.Closed => RefuseAsync(context, PurchaseProblems.SaleClosed),
            AdmitCode.SolutionUsed => ChallengeAsync(context, saleId, userId),
            AdmitCode.RateLimited => RefuseAsync(context, RequestGuard.RateLimited, waitMilliseconds: asked.Decision.WaitMilliseconds),
        };
    }

    private Task AdmittedAsync(HttpContext context, PublishedSale sale, string userId, long now)
    {
        Count("admitted");
        var expiresAt = now + options.TicketSeconds * 1_000;
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteAsJsonAsync(
            new TicketPage(tickets.Issue(sale.SaleId, userId, sale.Epoch, expiresAt), Timestamps.Text(expiresAt)), AdmissionJson.Default.TicketPage);
    }

    private Task ChallengeAsync(HttpContext context, string saleId, string userId)
    {
        Count(ChallengeRequired.Code);
        context.Response.Headers.CacheControl = "no-store";
        var fresh = challenges.Issue(saleId, userId, redis.NowMilliseconds);
        return Problems.WriteAsync(context, ChallengeRequired, members: json =>
        {
            json.WritePropertyName("challenge");
            JsonSerializer.Serialize(json, fresh, AdmissionJson.Default.ProofOfWork);
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

/// <summary>Puts admission into the host.</summary>
public static class AdmissionModule
{
    /// <summary>Registers what the endpoint needs.</summary>
    public static void AddAdmission(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<AdmissionOptions>(builder.Configuration, "Admission");
        builder.Services.AddSingleton(new Tickets(options));
        builder.Services.AddSingleton(new Challenges(options));
        builder.Services.AddSingleton<ChallengeSwitch>();
        builder.Services.AddSingleton<AdmitScript>();
        builder.Services.AddSingleton<AdmissionEndpoint>();
    }

    /// <summary>Maps the endpoint.</summary>
    public static void MapAdmission(this WebApplication app) =>
        app.MapPost("/api/v1/sales/{saleId}/admission", (HttpContext context, string saleId, AdmissionEndpoint admission) => admission.AdmitAsync(context, saleId))
            .Accepts<AdmissionForm>(isOptional: true, "application/json").Produces<TicketPage>().ProducesErrors(400, 401, 403, 404, 409, 413, 415, 425, 429, 503);

    /// <summary>Adds the ticket's header to what OpenAPI tells of an endpoint, after its other parameters.</summary>
    public static RouteHandlerBuilder TakesTicket(this RouteHandlerBuilder endpoint) => endpoint.AddOpenApiOperationTransformer((operation, _, _) =>
    {
        (operation.Parameters ??= []).Add(new OpenApiParameter
        {
            Name = Tickets.Header, In = ParameterLocation.Header, Description = "The ticket of an admission, where the sale requires one.",
            Schema = new OpenApiSchema { Type = JsonSchemaType.String, MinLength = Tickets.Length, MaxLength = Tickets.Length },
        });
        return Task.CompletedTask;
    });
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, AllowDuplicateProperties = false)]
[JsonSerializable(typeof(AdmissionForm))]
[JsonSerializable(typeof(TicketPage))]
[JsonSerializable(typeof(ProofOfWork))]
internal sealed partial class AdmissionJson : JsonSerializerContext;
