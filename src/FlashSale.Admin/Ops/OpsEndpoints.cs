using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admin.Ops;

/// <summary>The limits as JSON, as OpenAPI shows them. <see cref="LimitDocument"/> reads them.</summary>
public sealed record LimitsBody(IReadOnlyList<LimitRuleBody> Rules, LimitAllowBody? Allow = null);

/// <summary>A rule of the limits.</summary>
public sealed record LimitRuleBody(
    string Name, LimitMatchBody Match, string Partition, string Scope, int Capacity, double RefillPerSecond, int Cost = 1, string OnStoreFailure = "local",
    bool MonitorOnly = false, PenaltyBox? Penalty = null);

/// <summary>The requests that a rule counts.</summary>
public sealed record LimitMatchBody(string Path, string Method = "*");

/// <summary>The addresses, users and clients that no rule counts.</summary>
public sealed record LimitAllowBody(IReadOnlyList<string>? Cidrs = null, IReadOnlyList<string>? Users = null, IReadOnlyList<string>? Clients = null);

/// <summary>
/// Level and switches as JSON, as OpenAPI shows them. <see cref="SwitchDocument"/> reads them. Only answers have the
/// nodes, by name.
/// </summary>
public sealed record SwitchesBody(
    string Reason, int? Level = null, DateTimeOffset? Until = null, int Floor = 0, int Ceiling = DegradationOptions.DefaultCeiling,
    IReadOnlyDictionary<string, bool?>? Switches = null, IReadOnlyDictionary<string, NodeBody>? Nodes = null);

/// <summary>The degradation level in effect on a node.</summary>
public sealed record NodeBody(int Level, string Cause, DateTimeOffset Since);

/// <summary>
/// /api/v1/ops/limits and /api/v1/ops/switches: the settings that operators change while the product runs. Every node
/// follows within a second.
/// </summary>
public static class OpsEndpoints
{
    private const int MaxBody = 1024 * 1024;

    private delegate T Parser<T>(ReadOnlySpan<byte> json, List<ProblemError> errors);

    /// <summary>Registers the operators' settings, and checks the limits of section <c>Limits</c>.</summary>
    public static void AddOps(this WebApplicationBuilder builder)
    {
        var limits = builder.Services.AddSettings<LimitOptions>(builder.Configuration, "Limits");
        limits.Read();
        builder.Services.AddSingleton<OpsSettings>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapOps(this WebApplication app)
    {
        var ops = app.MapGroup("/api/v1/ops").WithTags("Operation");
        ops.MapGet("limits", ShowLimitsAsync).For(AdminRole.Viewer).Produces<LimitsBody>();
        ops.MapPut("limits", ReplaceLimitsAsync).For(AdminRole.Operator).WithMetadata(new TakesIfMatch()).Accepts<LimitsBody>("application/json").Produces<LimitsBody>()
            .WithDescription("Replaces all rules at once, on every node within a second. A document with anything wrong in it, a rule that matches nothing included, is refused as a whole, by line.");
        ops.MapDelete("limits", RestoreLimitsAsync).For(AdminRole.Operator).WithMetadata(new TakesIfMatch()).Produces<LimitsBody>()
            .WithDescription("Puts the rules in force that hold where nobody has set any: the built-in ones, or those of Limits:File.");
        ops.MapGet("switches", ShowSwitchesAsync).For(AdminRole.Viewer).Produces<SwitchesBody>();
        ops.MapPut("switches", ReplaceSwitchesAsync).For(AdminRole.Operator).WithMetadata(new TakesIfMatch()).Accepts<SwitchesBody>("application/json").Produces<SwitchesBody>()
            .WithDescription("Pins the degradation level, or leaves it (null) to each node's pressure between floor and ceiling. A switch wins over any level: "
                + "true keeps its feature on, false turns it off, null or none leaves it to the level. Replaces all that was set; floor is 0 and ceiling 2 unless given. "
                + "Nodes follow within a second; GET tells what is in effect on each.");
    }

    private static async Task<IResult> ShowLimitsAsync(HttpContext context, OpsSettings settings, LimitOptions options)
    {
        var stored = await settings.ReadAsync(OpsSettings.Limits, context.RequestAborted);
        return Show(context, stored?.Version ?? 0, stored?.Json ?? options.ReadText());
    }

    private static async Task<IResult> RestoreLimitsAsync(HttpContext context, OpsSettings settings, LimitOptions options)
    {
        if (!context.Request.TryReadIfMatch(out var ifVersions, out var error)) return AdminProblems.Invalid([error]);
        // The rules are set like any other document, so that nodes follow them by their version.
        var (version, published) = await settings.ReplaceAsync(OpsSettings.Limits, options.ReadText(), ifVersions, context.Actor());
        if (version is null) return AdminProblems.PreconditionFailed;
        return published ? Show(context, version.Value, options.ReadText()) : AdminProblems.NotPublished;
    }

    private static async Task<IResult> ReplaceLimitsAsync(HttpContext context, OpsSettings settings) =>
        await ReplaceAsync(context, settings, OpsSettings.Limits, LimitDocument.ParseStrictly) is var (version, json, refused) && refused is null
            ? Show(context, version, json)
            : refused!;

    private static async Task<IResult> ShowSwitchesAsync(HttpContext context, OpsSettings settings, RedisConnection redis, TimeProvider time)
    {
        var stored = await settings.ReadAsync(OpsSettings.Switches, context.RequestAborted);
        var document = Whole(stored?.Json ?? """{"reason":"not set"}""", time);
        document[SwitchDocument.Nodes] = await NodesAsync(redis);
        return Show(context, stored?.Version ?? 0, document.ToJsonString());
    }

    // The answer leaves the nodes out. They do not follow yet, and their levels would look like the outcome.
    private static async Task<IResult> ReplaceSwitchesAsync(HttpContext context, OpsSettings settings, TimeProvider time) =>
        await ReplaceAsync(context, settings, OpsSettings.Switches, (json, errors) => ParseSwitches(json, errors, time)) is var (version, json, refused) && refused is null
            ? Show(context, version, Whole(json, time).ToJsonString())
            : refused!;

    // Shows every member, even one that was left out, and nothing that has ended. So a client may send the answer back.
    private static JsonObject Whole(string json, TimeProvider time)
    {
        var document = JsonNode.Parse(json)!.AsObject();
        if (SwitchDocument.Parse(Encoding.UTF8.GetBytes(json), []).Until <= time.GetUtcNow().ToUnixTimeMilliseconds())
        {
            foreach (var name in (string[])["level", "until", "switches"]) document.Remove(name);
        }
        foreach (var (name, value) in (IEnumerable<(string, JsonNode?)>)
            [("level", null), ("until", null), ("floor", 0), ("ceiling", DegradationOptions.DefaultCeiling), ("switches", new JsonObject())])
        {
            if (!document.ContainsKey(name)) document[name] = value;
        }
        return document;
    }

    private static SwitchDocument ParseSwitches(ReadOnlySpan<byte> json, List<ProblemError> errors, TimeProvider time)
    {
        var document = SwitchDocument.Parse(json, errors);
        if (document.Until <= time.GetUtcNow().ToUnixTimeMilliseconds()) errors.Add(new("until", "must be in the future"));
        return document;
    }

    // The level in effect on each node. Null when Redis does not answer.
    private static async Task<JsonObject?> NodesAsync(RedisConnection redis)
    {
        try
        {
            return new JsonObject((await NodeState.ReadAllAsync(redis)).Select(node => KeyValuePair.Create(node.Key, (JsonNode?)new JsonObject
            {
                ["level"] = node.Value.Level,
                ["cause"] = node.Value.Cause,
                ["since"] = Timestamps.Text(DateTimeOffset.FromUnixTimeMilliseconds(node.Value.Since)),
            })));
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            return null;
        }
    }

    private static IResult Show(HttpContext context, long version, string json)
    {
        context.Tag(version.ToString(CultureInfo.InvariantCulture));
        return Results.Text(json, "application/json", Encoding.UTF8);
    }

    private static async Task<(long Version, string Json, IResult? Refused)> ReplaceAsync<T>(HttpContext context, OpsSettings settings, string name, Parser<T> parse)
    {
        if (!context.Request.HasJsonContentType()) return (0, "", AdminProblems.UnsupportedMediaType("application/json"));
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        if (body.Length > MaxBody) return (0, "", new ProblemAnswer(Problem.BodyTooLarge));
        var errors = new List<ProblemError>();
        var start = body.GetBuffer().AsSpan(0, (int)body.Length).StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;
        parse(body.GetBuffer().AsSpan(start, (int)body.Length - start), errors);
        if (!context.Request.TryReadIfMatch(out var ifVersions, out var error)) errors.Add(error);
        if (errors.Count > 0) return (0, "", AdminProblems.Invalid(errors));
        // A client may send back the nodes that it was shown. They are not kept.
        var document = JsonNode.Parse(body.GetBuffer().AsSpan(start, (int)body.Length - start))!.AsObject();
        document.Remove(SwitchDocument.Nodes);
        var json = document.ToJsonString();
        // The change is carried through, even if the operator does not wait any more.
        var (version, published) = await settings.ReplaceAsync(name, json, ifVersions, context.Actor());
        if (version is null) return (0, "", AdminProblems.PreconditionFailed);
        return published ? (version.Value, json, null) : (0, "", AdminProblems.NotPublished);
    }
}
