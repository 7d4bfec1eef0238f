using System.Net;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>The property of requests that decides which of them share a bucket of a rule.</summary>
public enum LimitPartition
{
    /// <summary>
    /// The client address: IPv4 exactly, IPv6 by its /64, since one household or bot has all addresses of a /64.
    /// </summary>
    Ip,

    /// <summary>The user id of a verified token. Requests without one are not counted.</summary>
    User,

    /// <summary>The <c>client_id</c> of a verified token (RFC 9068). Requests without one are not counted.</summary>
    Client,

    /// <summary>All requests share one bucket.</summary>
    Global,
}

/// <summary>The place of the buckets of a rule.</summary>
public enum LimitScope
{
    /// <summary>Each node has its own buckets. That costs nothing, but n nodes admit n times as much.</summary>
    Node,

    /// <summary>Redis holds the buckets for all nodes together. That costs a round trip.</summary>
    Cluster,
}

/// <summary>The behaviour of a rule of cluster scope while Redis does not answer.</summary>
public enum StoreFailure
{
    /// <summary>Each node counts in buckets of its own.</summary>
    Local,

    /// <summary>The rule does not count.</summary>
    Allow,

    /// <summary>The rule refuses all requests that it matches.</summary>
    Deny,
}

/// <summary>Blocks a partition for a while after too many refusals.</summary>
/// <param name="Rejections">The number of refusals that leads to a block.</param>
/// <param name="WithinSeconds">The time in which they must fall, in seconds.</param>
/// <param name="BlockSeconds">The length of the block, in seconds.</param>
public sealed record PenaltyBox(int Rejections, int WithinSeconds, int BlockSeconds);

/// <summary>A rate limit: one token bucket for each partition of the matching requests.</summary>
/// <param name="Name">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Method">An HTTP method, or * for any.</param>
/// <param name="Path">
/// A path. A segment may be {name} or *, and the last one may be **. All paths that match share the buckets.
/// </param>
/// <param name="Partition">The property that decides which requests share a bucket.</param>
/// <param name="Scope">The place of the buckets.</param>
/// <param name="Capacity">Tokens of a full bucket.</param>
/// <param name="RefillPerSecond">Tokens that a bucket gets back in a second.</param>
/// <param name="Cost">Tokens that a request takes.</param>
/// <param name="OnStoreFailure">The behaviour while Redis does not answer. Used with cluster scope only.</param>
/// <param name="MonitorOnly">
/// Whether the rule only counts the requests that it would refuse, and refuses no request.
/// </param>
/// <param name="Penalty">The block after many refusals. Null for no block.</param>
public sealed record LimitRule(
    string Name, string Method, string Path, LimitPartition Partition, LimitScope Scope, int Capacity, double RefillPerSecond, int Cost,
    StoreFailure OnStoreFailure, bool MonitorOnly, PenaltyBox? Penalty);

/// <summary>
/// The rate limits in the form that operators write. The HTTP contract describes it, and <c>limits.json</c> beside this
/// class is an example.
/// </summary>
/// <param name="Rules">
/// The rules, in no particular order. A request takes tokens from all rules that match, or from no rule.
/// </param>
/// <param name="Networks">Client addresses that no rule counts.</param>
/// <param name="Users">User ids that no rule counts.</param>
/// <param name="Clients">Clients that no rule counts.</param>
public sealed record LimitDocument(
    IReadOnlyList<LimitRule> Rules, IReadOnlyList<IPNetwork> Networks, IReadOnlyList<string> Users, IReadOnlyList<string> Clients)
{
    /// <summary>Most rules of a document. Each rule costs time in every request that matches it.</summary>
    public const int MaxRules = 64;

    private const int MaxAllowed = 10_000;
    private const int MaxAmount = 1_000_000;
    private const double SlowestRefill = 0.001;
    private const int DaySeconds = 86_400;

    /// <summary>The limits that hold until operators set others, as JSON.</summary>
    public static string DefaultJson { get; } = Resources.Read("Admission.limits.json");

    /// <summary>
    /// Reads a document. Its faults, with their lines, go to <paramref name="errors"/>. If there are any, the returned
    /// document must not be used.
    /// </summary>
    public static LimitDocument Parse(ReadOnlySpan<byte> json, List<ProblemError> errors) => Read(json, errors, mustMatch: false);

    /// <summary>
    /// As <see cref="Parse"/>, but a rule that no request of the shopper API can match is a fault too.
    /// </summary>
    public static LimitDocument ParseStrictly(ReadOnlySpan<byte> json, List<ProblemError> errors) => Read(json, errors, mustMatch: true);

    private static LimitDocument Read(ReadOnlySpan<byte> json, List<ProblemError> errors, bool mustMatch)
    {
        if (JsonPlace.Parse(json, errors) is not { } root) return new([], [], [], []);
        var names = new HashSet<string>(StringComparer.Ordinal);
        var rules = root.Objects("rules", MaxRules, place => ReadRule(place, names, mustMatch));
        List<IPNetwork> networks = [];
        List<string> users = [], clients = [];
        if (root.Nested("allow") is { } allow)
        {
            networks = [.. allow.Texts("cidrs", MaxAllowed, text => IPNetwork.TryParse(text, out _), "a network such as 10.0.0.0/8 or 2001:db8::/32").Select(text => IPNetwork.Parse(text))];
            users = allow.Texts("users", MaxAllowed, text => UserId.IsValid(text), $"a user id: {UserId.Rule}");
            clients = allow.Texts("clients", MaxAllowed, IsId, "a client id of 1 to 255 visible ASCII characters");
            allow.End();
        }
        root.End();
        return new(rules, networks, users, clients);
    }

    private static LimitRule ReadRule(JsonPlace place, HashSet<string> names, bool mustMatch)
    {
        var name = place.Text("name", text => IsName(text), "1 to 64 of A-Z a-z 0-9 . _ -");
        if (name.Length > 0 && !names.Add(name)) place.Error("name", "is the name of an earlier rule, too");
        var (method, path) = ("*", "/**");
        if (place.Nested("match", required: true) is { } match)
        {
            method = match.Text("method", text => text is "*" or "GET" or "HEAD" or "POST" or "PUT" or "PATCH" or "DELETE" or "OPTIONS", "an HTTP method in capital letters, or *", missing: "*");
            path = match.Text("path", text => PathPattern.IsValid(text), PathPattern.Rule);
            match.End();
            if (mustMatch && path.Length > 0 && method.Length > 0 && !ShopperRoutes.CanMatch(method, new PathPattern(path))) match.Error("path", ShopperRoutes.Rule);
        }
        var partition = place.Word<LimitPartition>("partition");
        var scope = place.Word<LimitScope>("scope");
        var capacity = place.Whole("capacity", 1, MaxAmount);
        var refill = place.Number("refillPerSecond", SlowestRefill, MaxAmount);
        var cost = place.Whole("cost", 1, MaxAmount, missing: 1);
        if (cost > capacity) place.Error("cost", "must not be above the capacity: no request would ever pass");
        var onFailure = place.Word<StoreFailure>("onStoreFailure", missing: StoreFailure.Local);
        var monitorOnly = place.Flag("monitorOnly") ?? false;
        PenaltyBox? penalty = null;
        if (place.Nested("penalty") is { } box)
        {
            penalty = new(box.Whole("rejections", 1, MaxAmount), box.Whole("withinSeconds", 1, DaySeconds), box.Whole("blockSeconds", 1, DaySeconds));
            box.End();
        }
        place.End();
        return new(name, method, path, partition, scope, capacity, refill, cost, onFailure, monitorOnly, penalty);
    }

    private static bool IsId(string text) => text.Length is > 0 and <= 255 && !text.AsSpan().ContainsAnyExceptInRange('!', '~');

    private static bool IsName(string text) => text.Length is > 0 and <= 64 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');
}
