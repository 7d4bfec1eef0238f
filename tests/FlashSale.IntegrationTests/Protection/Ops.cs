using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>Sets documents of operators, and waits until the nodes follow them.</summary>
internal static class Ops
{
    public const string PurchasePath = "/api/v1/sales/{saleId}/orders";

    /// <summary>A rule in the form that a request has.</summary>
    public static Dictionary<string, object?> Rule(
        string name, string partition, int capacity, double perSecond, string path = PurchasePath, string method = "*", string scope = "node", params (string Name, object Value)[] more)
    {
        var rule = new Dictionary<string, object?>(StringComparer.Ordinal)
        {
            ["name"] = name, ["match"] = new { method, path }, ["partition"] = partition, ["scope"] = scope, ["capacity"] = capacity, ["refillPerSecond"] = perSecond,
        };
        foreach (var (key, value) in more) rule[key] = value;
        return rule;
    }

    /// <summary>Puts rules in force, and waits until every node follows them.</summary>
    /// <returns>The time that the slowest node took.</returns>
    public static Task<TimeSpan> LimitAsync(this Stack stack, params Dictionary<string, object?>[] rules) => stack.LimitAsync(new { rules });

    /// <inheritdoc cref="LimitAsync(Stack, Dictionary{string, object?}[])" />
    public static Task<TimeSpan> LimitAsync(this Stack stack, object document) => stack.SetAsync("limits", document);

    /// <summary>Sets level and switches, and waits until every node follows them.</summary>
    public static Task<TimeSpan> SwitchAsync(this Stack stack, int? level, object? switches = null, int floor = 0, int ceiling = 5) =>
        stack.SetAsync("switches", new { level, reason = "a test", floor, ceiling, switches = switches ?? new { } });

    private static async Task<TimeSpan> SetAsync(this Stack stack, string name, object document)
    {
        var answer = Manager.Expect(200, await stack.Manager.SendAsync(HttpMethod.Put, $"/api/v1/ops/{name}", document));
        var version = answer.Header("etag")!.Trim('"');
        // Each node logs the version that it follows.
        var took = await Task.WhenAll(stack.Apis.Select(api =>
            Eventually.TrueAsync($"version {version} of the {name} on port {api.Port}", TimeSpan.FromSeconds(10), () => api.Output.Contains($"Follows version {version} of the {name}", StringComparison.Ordinal))));
        return took.Max();
    }

    /// <summary>The effective state of each node, as operators see it.</summary>
    public static async Task<IReadOnlyList<(int Level, string Cause)>> NodesAsync(this Stack stack)
    {
        var nodes = Manager.Expect(200, await stack.Manager.GetAsync("/api/v1/ops/switches")).Json.GetProperty("nodes");
        return nodes.ValueKind is JsonValueKind.Null ? [] : [.. nodes.EnumerateObject().Select(node => (node.Value.GetProperty("level").GetInt32(), node.Value.GetProperty("cause").GetString()!))];
    }
}
