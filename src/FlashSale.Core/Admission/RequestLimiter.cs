using System.Buffers.Binary;
using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading.RateLimiting;
using FlashSale.Contracts;

namespace FlashSale.Admission;

/// <summary>The properties of a request that the rules count by.</summary>
/// <param name="Method">HTTP method.</param>
/// <param name="Path">Decoded path.</param>
/// <param name="Address">The client's address, as trusted proxies report it. Null when it is not known.</param>
/// <param name="User">The user's <see cref="Fingerprints.OfUser"/>. Null without a verified token.</param>
/// <param name="Client">
/// The client's <see cref="Fingerprints.OfClient"/>. Null if no verified token names a client.
/// </param>
public readonly record struct LimitedRequest(string Method, string Path, IPAddress? Address, ulong? User, ulong? Client);

/// <summary>
/// Lets requests through as far as the rules allow. A request takes tokens from every rule that matches it, or from no
/// rule. A change of the rules exchanges one reference. A rule that did not change keeps its buckets.
/// </summary>
public sealed class RequestLimiter : PartitionedRateLimiter<LimitedRequest>
{
    private static readonly Meter Meter = new("FlashSale.Limits");
    private static readonly Counter<long> Rejections = Meter.CreateCounter<long>("flashsale_limit_rejections_total", description: "Requests a rule refused, or would have refused were it not monitor-only.");

    private readonly ClusterBuckets _cluster;
    private readonly Timer _forgetting;
    private volatile Rules _rules;

    /// <summary>Begins with the rules of a document. <see cref="Follow"/> replaces them.</summary>
    public RequestLimiter(LimitDocument document, ClusterBuckets cluster)
    {
        _cluster = cluster;
        _rules = new(document, null);
        _forgetting = new Timer(_ => Forget(), null, TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(10));
    }

    /// <summary>Number of buckets that this node keeps, over all rules.</summary>
    public int BucketCount => _rules.All.Sum(rule => rule.Buckets.Count);

    /// <summary>Puts the rules of another document in force.</summary>
    public void Follow(LimitDocument document) => _rules = new(document, _rules);

    /// <summary>
    /// Whether a user may buy now. While <see cref="Features.PurchasesForAll"/> is off, only a share of the users and
    /// the requests on the allowlist may.
    /// </summary>
    public bool MayBuy(Degradation degradation, in LimitedRequest request) =>
        !degradation.IsOff(Features.PurchasesForAll) || (request.User is { } user && degradation.IsOfTheShare(user)) || _rules.Exempts(request);

    /// <inheritdoc />
    public override RateLimiterStatistics? GetStatistics(LimitedRequest resource) => null;

    /// <summary>Decides about a request. Completes synchronously unless a rule of cluster scope counts it.</summary>
    public ValueTask<LimitLease> DecideAsync(in LimitedRequest request)
    {
        var rules = _rules;
        if (rules.All.Length == 0 || rules.Exempts(request)) return new(LimitLease.Unlimited);
        var given = new Given();
        if (TakeHere(rules, request, rules.OfNode, ref given) is { } refusal) return new(refusal);
        return rules.OfCluster == 0 ? new(given.Lease) : TakeThereAsync(rules, request, given);
    }

    /// <inheritdoc />
    protected override RateLimitLease AttemptAcquireCore(LimitedRequest resource, int permitCount)
    {
        var rules = _rules;
        var given = new Given();
        return TakeHere(rules, resource, rules.OfNode, ref given) ?? given.Lease;
    }

    /// <inheritdoc />
    protected override async ValueTask<RateLimitLease> AcquireAsyncCore(LimitedRequest resource, int permitCount, CancellationToken cancellationToken) => await DecideAsync(resource);

    /// <inheritdoc />
    protected override void Dispose(bool disposing)
    {
        if (disposing) _forgetting.Dispose();
        base.Dispose(disposing);
    }

    // Takes tokens from the buckets of this node. For a rule of cluster scope, its OnStoreFailure decides. Returns the
    // refusal if a rule refuses, else null.
    private static LimitLease? TakeHere(Rules rules, in LimitedRequest request, ulong among, ref Given given)
    {
        const int ComeAgain = 1_000;
        var now = Environment.TickCount64;
        for (var i = 0; i < rules.All.Length; i++)
        {
            var rule = rules.All[i];
            if ((among >> i & 1) == 0 || !rule.Matches(request, out var partition)) continue;
            var withoutStore = rule.Rule.Scope is LimitScope.Cluster ? rule.Rule.OnStoreFailure : StoreFailure.Local;
            if (withoutStore is StoreFailure.Allow) continue;
            var (ok, left, wait) = withoutStore is StoreFailure.Deny ? (false, 0, ComeAgain) : rule.Buckets.Take(partition, rule.Rule.Cost, now);
            if (ok) given.Taken |= 1UL << i;
            else Count(rule.Rule);
            if (rule.Rule.MonitorOnly) continue;
            if (!ok)
            {
                GiveBack(rules, request, given.Taken);
                return new LimitLease(rule.Headers, (long)left, wait);
            }
            given.Leaves(rule, left);
        }
        return null;
    }

    private ValueTask<LimitLease> TakeThereAsync(Rules rules, in LimitedRequest request, Given given)
    {
        List<(CompiledRule Rule, ulong Partition)> asked = [];
        foreach (var rule in rules.All)
        {
            if (rule.Rule.Scope is LimitScope.Cluster && rule.Matches(request, out var partition)) asked.Add((rule, partition));
        }
        return asked.Count == 0 ? new(given.Lease) : AskAsync(rules, request, asked, given);
    }

    private async ValueTask<LimitLease> AskAsync(Rules rules, LimitedRequest request, List<(CompiledRule Rule, ulong Partition)> asked, Given given)
    {
        if (await _cluster.TakeAsync([.. asked.Select(ask => new ClusterRule(ask.Rule.Rule, ask.Partition))]) is not { } answers)
            return TakeHere(rules, request, rules.OfCluster, ref given) ?? given.Lease;
        for (var i = 0; i < asked.Count; i++)
        {
            var (rule, (left, wait)) = (asked[i].Rule, answers[i]);
            if (left < 0) Count(rule.Rule);
            if (left == ClusterBuckets.Watched) continue;
            if (left == ClusterBuckets.Refused)
            {
                GiveBack(rules, request, given.Taken);
                return new LimitLease(rule.Headers, 0, Math.Max(1, wait));
            }
            given.Leaves(rule, left);
        }
        return given.Lease;
    }

    private static void GiveBack(Rules rules, in LimitedRequest request, ulong taken)
    {
        for (var i = 0; taken != 0; i++, taken >>= 1)
        {
            if ((taken & 1) != 0 && rules.All[i].Matches(request, out var partition)) rules.All[i].Buckets.GiveBack(partition, rules.All[i].Rule.Cost);
        }
    }

    private static void Count(LimitRule rule) => Rejections.Add(1,
        new KeyValuePair<string, object?>("rule", rule.Name), new KeyValuePair<string, object?>("enforced", rule.MonitorOnly ? "false" : "true"));

    private void Forget()
    {
        var now = Environment.TickCount64;
        foreach (var rule in _rules.All) rule.Buckets.Forget(now);
    }

    // The result so far: the lease of the rule that leaves the smallest share of its capacity, and the buckets of this
    // node that tokens were taken from.
    private struct Given()
    {
        private double _least = double.MaxValue;

        public LimitLease Lease { get; private set; } = LimitLease.Unlimited;

        public ulong Taken { get; set; }

        public void Leaves(CompiledRule rule, double left)
        {
            var share = left / rule.Rule.Capacity;
            if (share < _least) (Lease, _least) = (rule.Headers.Taken(left), share);
        }
    }

    // One set of rules. Only its buckets change.
    private sealed class Rules
    {
        private readonly IPNetwork[] _networks;
        private readonly FrozenSet<ulong> _users;
        private readonly FrozenSet<ulong> _clients;
        private readonly bool _exemptsNobody;

        public Rules(LimitDocument document, Rules? before)
        {
            All = [.. document.Rules.Select(rule => before?.All.FirstOrDefault(known => known.Rule == rule) ?? new CompiledRule(rule))];
            _networks = [.. document.Networks];
            _users = document.Users.Select(user => Fingerprints.OfUser(user)).ToFrozenSet();
            _clients = document.Clients.Select(client => Fingerprints.OfClient(Encoding.UTF8.GetBytes(client))).ToFrozenSet();
            _exemptsNobody = _networks.Length + _users.Count + _clients.Count == 0;
            for (var i = 0; i < All.Length; i++)
            {
                if (All[i].Rule.Scope is LimitScope.Cluster) OfCluster |= 1UL << i;
                else OfNode |= 1UL << i;
            }
        }

        public CompiledRule[] All { get; }

        // Bit i stands for rule i of All.
        public ulong OfNode { get; }

        public ulong OfCluster { get; }

        public bool Exempts(in LimitedRequest request)
        {
            if (_exemptsNobody) return false;
            if (request.User is { } user && _users.Contains(user)) return true;
            if (request.Client is { } client && _clients.Contains(client)) return true;
            if (request.Address is not { } address) return false;
            if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
            foreach (var network in _networks)
            {
                if (network.Contains(address)) return true;
            }
            return false;
        }
    }

    private sealed class CompiledRule(LimitRule rule)
    {
        private readonly PathPattern _path = new(rule.Path);

        public LimitRule Rule => rule;

        public TokenBuckets Buckets { get; } = new(rule.Capacity, rule.RefillPerSecond, rule.Penalty);

        public LimitHeaders Headers { get; } = new(rule);

        public bool Matches(in LimitedRequest request, out ulong partition)
        {
            var found = rule.Partition switch
            {
                LimitPartition.Ip => PartitionOf(request.Address),
                LimitPartition.User => request.User,
                LimitPartition.Client => request.Client,
                LimitPartition.Global => 0UL,
            };
            partition = found ?? 0;
            return found is not null && (rule.Method == "*" || rule.Method == request.Method) && _path.Matches(request.Path);
        }

        // An IPv4 address stands for itself, mapped or not. An IPv6 address is cut to the 64 bits that a site is given.
        private static ulong? PartitionOf(IPAddress? address)
        {
            if (address is null) return null;
            Span<byte> bytes = stackalloc byte[16];
            if (address.AddressFamily is AddressFamily.InterNetwork)
            {
                address.TryWriteBytes(bytes, out _);
                return BinaryPrimitives.ReadUInt32BigEndian(bytes);
            }
            address.TryWriteBytes(bytes, out _);
            return address.IsIPv4MappedToIPv6 ? BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]) : BinaryPrimitives.ReadUInt64BigEndian(bytes);
        }
    }
}
