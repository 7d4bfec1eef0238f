using System.Net;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>Who shares a bucket of a rule.</summary>
public enum LimitPartition
{
    /// <summary>A client address: IPv4 exactly, IPv6 by its /64, since a household or a bot has all of one.</summary>
    Ip,

    /// <summary>A user id of a verified token; requests without one are not counted.</summary>
    User,

    /// <summary>The <c>client_id</c> of a verified token (RFC 9068); requests without one are not counted.</summary>
    Client,

    /// <summary>Everybody.</summary>
    Global,
}

/// <summary>Where the buckets of a rule are.</summary>
public enum LimitScope
{
    /// <summary>In each node: costs nothing, and n nodes admit n times as much.</summary>
    Node,

    /// <summary>In Redis, for all nodes together: costs a round trip.</summary>
    Cluster,
}

/// <summary>What a rule of cluster scope does while Redis does not answer.</summary>
public enum StoreFailure
{
    /// <summary>Each node counts by itself.</summary>
    Local,

    /// <summary>The rule does not count.</summary>
    Allow,

    /// <summary>The rule refuses.</summary>
    Deny,
}

/// <summary>Who is refused so often is refused everything for a while.</summary>
/// <param name="Rejections">That many,</param>
/// <param name="WithinSeconds">within this time,</param>
/// <param name="BlockSeconds">block for that long.</param>
public sealed record PenaltyBox(int Rejections, int WithinSeconds, int BlockSeconds);

/// <summary>A rate limit: a token bucket for each partition of the requests that match.</summary>
/// <param name="Name">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Method">An HTTP method, or * for any.</param>
/// <param name="Path">A path whose segments may be {names} or *, and which may end in /**; all that match share the buckets.</param>
/// <param name="Partition">Who shares a bucket.</param>
/// <param name="Scope">Where the buckets are.</param>
/// <param name="Capacity">Tokens of a full bucket.</param>
/// <param name="RefillPerSecond">Tokens that come back in a second.</param>
/// <param name="Cost">Tokens of a request.</param>
/// <param name="OnStoreFailure">For cluster scope.</param>
/// <param name="MonitorOnly">Counts what it would refuse, and refuses nothing.</param>
/// <param name="Penalty">For those who do not stop.</param>
public sealed record LimitRule(
    string Name, string Method, string Path, LimitPartition Partition, LimitScope Scope, int Capacity, double RefillPerSecond, int Cost,
    StoreFailure OnStoreFailure, bool MonitorOnly, PenaltyBox? Penalty);

/// <summary>The rate limits as operators write them; the form is http-contract's, <c>limits.json</c> beside this class is an example.</summary>
/// <param name="Rules">In no particular order: a request takes from all that match, or from none.</param>
/// <param name="Networks">Client addresses that no rule counts.</param>
/// <param name="Users">User ids that no rule counts.</param>
/// <param name="Clients">Clients that no rule counts.</param>
public sealed record LimitDocument(
    IReadOnlyList<LimitRule> Rules, IReadOnlyList<IPNetwork> Networks, IReadOnlyList<string> Users, IReadOnlyList<string> Clients)
{
    /// <summary>Most rules: each costs every request that matches.</summary>
    public const int MaxRules = 64;

    private const int MaxAllowed = 10_000;
    private const int MaxAmount = 1_000_000;
    private const double SlowestRefill = 0.001;
    private const int DaySeconds = 86_400;

    /// <summary>What holds where nobody has set anything, as JSON.</summary>
    public static string DefaultJson { get; } = Resources.Read("Admission.limits.json");

    /// <summary>Reads a document; what is wrong with it, by line, goes to <paramref name="errors"/>, and then it is of no use.</summary>
    public static LimitDocument Parse(ReadOnlySpan<byte> json, List<ProblemError> errors) => Read(json, errors, mustMatch: false);

    /// <summary>As <see cref="Parse"/>; a rule that no request of the shopper API can match is wrong, too.</summary>
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
