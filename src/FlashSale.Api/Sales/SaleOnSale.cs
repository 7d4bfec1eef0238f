using System.Collections.Frozen;
using System.Text;
using FlashSale.Api.Purchase;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Api.Sales;

/// <summary>An item with what the purchase path needs of it, made once per published version.</summary>
public sealed class ItemOnSale(PublishedSale sale, PublishedItem item)
{
    /// <summary>As published.</summary>
    public PublishedItem Published { get; } = item;

    /// <summary>Whether this node knows it to be sold out.</summary>
    public SoldOutMark SoldOut { get; } = new();

    /// <summary>The part of a 202 between the order id and the quantity.</summary>
    public byte[] AnswerHead { get; } = Encoding.UTF8.GetBytes($"\",\"saleId\":\"{sale.SaleId}\",\"sku\":\"{item.Sku}\",\"quantity\":");

    /// <summary>The part of a 202 between the amount and the status URL.</summary>
    public byte[] AnswerTail { get; } = Encoding.UTF8.GetBytes($",\"currency\":\"{item.Currency}\"}},\"status\":\"accepted\",\"statusUrl\":\"/api/v1/orders/");
}

/// <summary>
/// A published sale with what this node keeps beside it. Everything but the gate and the buyers is new with each
/// version; those two live as long as the sale's epoch.
/// </summary>
public sealed class SaleOnSale
{
    private const int OpeningMarginMilliseconds = 1_000;
    private const int BuyersStaleAfterMilliseconds = 1_000;

    private readonly FrozenDictionary<string, ItemOnSale>.AlternateLookup<ReadOnlySpan<char>> _bySku;
    private long _buyersAsOf;
    private int _loadingBuyers;

    /// <summary>Makes the node's view of a published sale.</summary>
    /// <param name="published">The new version.</param>
    /// <param name="before">The version it replaces.</param>
    /// <param name="newGate">Makes a gate for a sale that was not there before.</param>
    /// <param name="redis">For the buyers.</param>
    public SaleOnSale(PublishedSale published, SaleOnSale? before, Func<SaleKeys, PurchaseGate> newGate, RedisConnection redis)
    {
        Published = published;
        Keys = before?.Keys ?? new SaleKeys(published.SaleId);
        Gate = before?.Gate ?? newGate(Keys);
        Gate.Epoch = published.Epoch;
        Buyers = before?.Published.Epoch == published.Epoch ? before.Buyers : new Buyers(redis, Keys, published.Epoch);
        Items = published.Items.ToFrozenDictionary(item => item.Sku, item => new ItemOnSale(published, item), StringComparer.Ordinal);
        _bySku = Items.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>As published.</summary>
    public PublishedSale Published { get; }

    /// <summary>Where it lies in Redis.</summary>
    public SaleKeys Keys { get; }

    /// <summary>The way of its purchases into Redis.</summary>
    public PurchaseGate Gate { get; }

    /// <summary>Who holds a reservation.</summary>
    public Buyers Buyers { get; }

    /// <summary>Its items by sku.</summary>
    public FrozenDictionary<string, ItemOnSale> Items { get; }

    /// <summary>Finds an item.</summary>
    public ItemOnSale? Find(ReadOnlySpan<char> sku) => _bySku.TryGetValue(sku, out var item) ? item : null;

    /// <summary>Whether the sale is so far from its opening that Redis need not be asked. Nobody holds a reservation yet.</summary>
    /// <param name="redisNow">Redis TIME, never ahead of Redis.</param>
    public bool IsNotOpen(long redisNow) =>
        Published.Status is SaleStatus.Live && redisNow < Published.OpensAt - OpeningMarginMilliseconds;

    /// <summary>
    /// Whether the sale is closed and this user has bought nothing in it, as far as the buyers have been loaded since.
    /// </summary>
    public bool IsClosedFor(ulong userHash, long redisNow, long now)
    {
        if (Published.PhaseAt(redisNow) is not SalePhase.Closed) return false;
        var asOf = Volatile.Read(ref _buyersAsOf);
        if (now - asOf > BuyersStaleAfterMilliseconds && Interlocked.Exchange(ref _loadingBuyers, 1) == 0) _ = LoadBuyersAsync(now);
        return asOf != 0 && !Buyers.Contains(userHash);
    }

    private async Task LoadBuyersAsync(long now)
    {
        try
        {
            if (await Buyers.LoadAsync()) Volatile.Write(ref _buyersAsOf, now);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException or StackExchange.Redis.RedisServerException)
        {
            // Not known: the script is asked.
        }
        finally
        {
            Volatile.Write(ref _loadingBuyers, 0);
        }
    }
}

/// <summary>The sales of this node: the catalog's snapshot, with the node's own view of each sale.</summary>
public sealed class Storefront
{
    private readonly CatalogFeed _feed;
    private readonly RedisConnection _redis;
    private readonly Func<SaleKeys, PurchaseGate> _newGate;
    private volatile Snapshot _snapshot = new(FrozenDictionary<string, SaleOnSale>.Empty);

    /// <summary>Follows the feed.</summary>
    public Storefront(CatalogFeed feed, RedisConnection redis, ReserveScript script, [FromKeyedServices(Dependency.Redis)] Dependency breaker, ScriptFigures figures, PurchaseOptions options)
    {
        _feed = feed;
        _redis = redis;
        _newGate = keys => new PurchaseGate(keys, script, redis, breaker, figures, options);
        feed.Changed += Follow;
    }

    /// <summary>All published sales.</summary>
    public IEnumerable<SaleOnSale> Sales => _snapshot.Sales.Values;

    /// <summary>The sales that the list shows, newest first; another object with each snapshot.</summary>
    public IReadOnlyList<SaleOnSale> Listed => _snapshot.Listed;

    /// <summary>Finds a sale by its id.</summary>
    public SaleOnSale? Find(ReadOnlySpan<char> saleId) => _snapshot.ById.TryGetValue(saleId, out var sale) ? sale : null;

    /// <summary>Finds a sale by the number inside an order id.</summary>
    public SaleOnSale? Find(int number) => _snapshot.ByNumber.GetValueOrDefault(number);

    /// <summary>Looks whether a newer version of the sales is published, and follows it before it returns.</summary>
    public Task RefreshAsync() => _feed.RefreshAsync();

    // Called by the feed, one at a time.
    private void Follow(FrozenDictionary<string, PublishedSale> published)
    {
        var before = _snapshot.Sales;
        _snapshot = new(published.ToFrozenDictionary(pair => pair.Key, pair =>
        {
            var known = before.GetValueOrDefault(pair.Key);
            return known?.Published == pair.Value ? known : new SaleOnSale(pair.Value, known, _newGate, _redis);
        }, StringComparer.Ordinal));
    }

    private sealed class Snapshot(FrozenDictionary<string, SaleOnSale> sales)
    {
        public FrozenDictionary<string, SaleOnSale> Sales { get; } = sales;

        public IReadOnlyList<SaleOnSale> Listed { get; } = [.. sales.Values.Where(sale => !sale.Published.IsLoadRun).OrderByDescending(sale => sale.Published.Number)];

        public FrozenDictionary<string, SaleOnSale>.AlternateLookup<ReadOnlySpan<char>> ById { get; } = sales.GetAlternateLookup<ReadOnlySpan<char>>();

        public FrozenDictionary<int, SaleOnSale> ByNumber { get; } = sales.Values.ToFrozenDictionary(sale => sale.Published.Number);
    }
}
