using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admin.Ops;

/// <summary>The limits as JSON, for the document; <see cref="LimitDocument"/> reads them.</summary>
public sealed record LimitsBody(IReadOnlyList<LimitRuleBody> Rules, LimitAllowBody? Allow = null);

/// <summary>A rule of that document.</summary>
public sealed record LimitRuleBody(
    string Name, LimitMatchBody Match, string Partition, string Scope, int Capacity, double RefillPerSecond, int Cost = 1, string OnStoreFailure = "local",
    bool MonitorOnly = false, PenaltyBox? Penalty = null);

/// <summary>What a rule counts.</summary>
public sealed record LimitMatchBody(string Path, string Method = "*");

/// <summary>Whom no rule counts.</summary>
public sealed record LimitAllowBody(IReadOnlyList<string>? Cidrs = null, IReadOnlyList<string>? Users = null, IReadOnlyList<string>? Clients = null);

/// <summary>Level and switches as JSON, for the document; <see cref="SwitchDocument"/> reads them. Nodes, by name, stand in answers only.</summary>
public sealed record SwitchesBody(
    string Reason, int? Level = null, DateTimeOffset? Until = null, int Floor = 0, int Ceiling = DegradationOptions.DefaultCeiling,
    IReadOnlyDictionary<string, bool?>? Switches = null, IReadOnlyDictionary<string, NodeBody>? Nodes = null);

/// <summary>What is in effect on a node.</summary>
public sealed record NodeBody(int Level, string Cause, DateTimeOffset Since);

/// <summary>/api/v1/ops/limits and /api/v1/ops/switches: what operators set while the product runs. Every node follows within a second.</summary>
public static class OpsEndpoints
{
    private const int MaxBody = 1024 * 1024;

    private delegate T Parser<T>(ReadOnlySpan<byte> json, List<ProblemError> errors);

    /// <summary>Registers what the endpoints need.</summary>
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
        ops.MapPut("limits", ReplaceLimitsAsync).For(AdminRole.Operator).Accepts<LimitsBody>("application/json").Produces<LimitsBody>()
            .WithDescription("Replaces all rules at once, on every node within a second. A document with anything wrong in it is refused as a whole, by line.");
        ops.MapGet("switches", ShowSwitchesAsync).For(AdminRole.Viewer).Produces<SwitchesBody>();
        ops.MapPut("switches", ReplaceSwitchesAsync).For(AdminRole.Operator).Accepts<SwitchesBody>("application/json").Produces<SwitchesBody>()
            .WithDescription("Pins the degradation level, or leaves it to each node's pressure between floor and ceiling; a switch wins over any level.");
    }

    private static async Task<IResult> ShowLimitsAsync(HttpContext context, OpsSettings settings, LimitOptions options)
    {
        var stored = await settings.ReadAsync(OpsSettings.Limits, context.RequestAborted);
        return Show(context, stored?.Version ?? 0, stored?.Json ?? options.ReadText());
    }

    private static async Task<IResult> ReplaceLimitsAsync(HttpContext context, OpsSettings settings) =>
        await ReplaceAsync(context, settings, OpsSettings.Limits, LimitDocument.Parse) is var (version, json, refused) && refused is null
            ? Show(context, version, json)
            : refused!;

    private static async Task<IResult> ShowSwitchesAsync(HttpContext context, OpsSettings settings, RedisConnection redis)
    {
        var stored = await settings.ReadAsync(OpsSettings.Switches, context.RequestAborted);
        return await WithNodesAsync(context, redis, stored?.Version ?? 0,
            stored?.Json ?? $$$"""{"level":null,"reason":"not set","until":null,"floor":0,"ceiling":{{{DegradationOptions.DefaultCeiling}}},"switches":{}}""");
    }

    private static async Task<IResult> ReplaceSwitchesAsync(HttpContext context, OpsSettings settings, RedisConnection redis, TimeProvider time) =>
        await ReplaceAsync(context, settings, OpsSettings.Switches, (json, errors) => ParseSwitches(json, errors, time)) is var (version, json, refused) && refused is null
            ? await WithNodesAsync(context, redis, version, json)
            : refused!;

    private static SwitchDocument ParseSwitches(ReadOnlySpan<byte> json, List<ProblemError> errors, TimeProvider time)
    {
        var document = SwitchDocument.Parse(json, errors);
        if (document.Until <= time.GetUtcNow().ToUnixTimeMilliseconds()) errors.Add(new("until", "must be in the future"));
        return document;
    }

    // With what is in effect, node by node; without it where Redis cannot say.
    private static async Task<IResult> WithNodesAsync(HttpContext context, RedisConnection redis, long version, string json)
    {
        var document = JsonNode.Parse(json)!.AsObject();
        JsonObject? nodes = null;
        try
        {
            nodes = new JsonObject((await NodeState.ReadAllAsync(redis)).Select(node => KeyValuePair.Create(node.Key, (JsonNode?)new JsonObject
            {
                ["level"] = node.Value.Level,
                ["cause"] = node.Value.Cause,
                ["since"] = Timestamps.Text(DateTimeOffset.FromUnixTimeMilliseconds(node.Value.Since)),
            })));
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // null: not known.
        }
        document[SwitchDocument.Nodes] = nodes;
        return Show(context, version, document.ToJsonString());
    }

    private static IResult Show(HttpContext context, long version, string json)
    {
        context.Response.Headers.ETag = $"\"{version.ToString(CultureInfo.InvariantCulture)}\"";
        return Results.Text(json, "application/json", Encoding.UTF8);
    }

    private static async Task<(long Version, string Json, IResult? Refused)> ReplaceAsync<T>(HttpContext context, OpsSettings settings, string name, Parser<T> parse)
    {
        if (!context.Request.HasJsonContentType()) return (0, "", AdminProblems.UnsupportedMediaType("application/json"));
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        if (body.Length > MaxBody) return (0, "", new ProblemAnswer(Problem.BodyTooLarge));
        var errors = new List<ProblemError>();
        parse(body.GetBuffer().AsSpan(0, (int)body.Length), errors);
        if (!context.Request.TryReadIfMatch(out var ifVersions, out var error)) errors.Add(error);
        if (errors.Count > 0) return (0, "", AdminProblems.Invalid(errors));
        // What was shown of the nodes may be sent back, and is not kept.
        var document = JsonNode.Parse(body.GetBuffer().AsSpan(0, (int)body.Length))!.AsObject();
        document.Remove(SwitchDocument.Nodes);
        var json = document.ToJsonString();
        // Carried through, whether or not the operator still waits.
        var (version, published) = await settings.ReplaceAsync(name, json, ifVersions, context.Actor());
        if (version is null) return (0, "", AdminProblems.PreconditionFailed);
        return published ? (version.Value, json, null) : (0, "", AdminProblems.NotPublished);
    }
}
