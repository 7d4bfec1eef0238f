using System.Collections.Frozen;
using System.Text;
using FlashSale.Api.Purchase;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Api.Sales;

/// <summary>An item with everything that the purchase path needs of it. Made once per published version.</summary>
public sealed class ItemOnSale(PublishedSale sale, PublishedItem item)
{
    /// <summary>The item as published.</summary>
    public PublishedItem Published { get; } = item;

    /// <summary>Whether this node knows that the item is sold out.</summary>
    public SoldOutMark SoldOut { get; } = new();

    /// <summary>The bytes of a 202 between the order id and the quantity.</summary>
    public byte[] AnswerHead { get; } = Encoding.UTF8.GetBytes($"\",\"saleId\":\"{sale.SaleId}\",\"sku\":\"{item.Sku}\",\"quantity\":");

    /// <summary>The bytes of a 202 between the amount and the status URL.</summary>
    public byte[] AnswerTail { get; } = Encoding.UTF8.GetBytes($",\"currency\":\"{item.Currency}\"}},\"status\":\"accepted\",\"statusUrl\":\"/api/v1/orders/");
}

/// <summary>
/// A published sale with everything that this node keeps beside it. The keys and the gate live as long as the
/// storefront has the sale, the buyers as long as its epoch. Everything else is new with each version.
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
    /// <param name="before">The version that it replaces. Null for a new sale.</param>
    /// <param name="newGate">Makes a gate for a sale that was not there before.</param>
    /// <param name="redis">Where the buyers are read.</param>
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

    /// <summary>The sale as published.</summary>
    public PublishedSale Published { get; }

    /// <summary>The keys of the sale in Redis.</summary>
    public SaleKeys Keys { get; }

    /// <summary>Brings the sale's purchases to Redis.</summary>
    public PurchaseGate Gate { get; }

    /// <summary>The users that hold a reservation.</summary>
    public Buyers Buyers { get; }

    /// <summary>The items by sku.</summary>
    public FrozenDictionary<string, ItemOnSale> Items { get; }

    /// <summary>Finds an item by its sku. Null when the sale has no such item.</summary>
    public ItemOnSale? Find(ReadOnlySpan<char> sku) => _bySku.TryGetValue(sku, out var item) ? item : null;

    /// <summary>
    /// Whether the sale is still more than a second from its opening. Then Redis need not be asked, because nobody
    /// holds a reservation yet.
    /// </summary>
    /// <param name="redisNow">The node's estimate of Redis TIME in Unix milliseconds. It is never ahead of
    /// Redis.</param>
    public bool IsNotOpen(long redisNow) =>
        Published.Status is SaleStatus.Live && redisNow < Published.OpensAt - OpeningMarginMilliseconds;

    /// <summary>
    /// Whether the sale is closed and this user has bought nothing in it. False as long as the buyers were not loaded
    /// since.
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
            // The buyers are not known, so the script is asked.
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

    /// <summary>Follows the feed of the catalog.</summary>
    public Storefront(CatalogFeed feed, RedisConnection redis, ReserveScript script, [FromKeyedServices(Dependency.Redis)] Dependency breaker, ScriptFigures figures, PurchaseOptions options)
    {
        _feed = feed;
        _redis = redis;
        _newGate = keys => new PurchaseGate(keys, script, redis, breaker, figures, options);
        feed.Changed += Follow;
    }

    /// <summary>All published sales, those of load runs included.</summary>
    public IEnumerable<SaleOnSale> Sales => _snapshot.Sales.Values;

    /// <summary>The sales that the list shows, newest first. Each snapshot has another object.</summary>
    public IReadOnlyList<SaleOnSale> Listed => _snapshot.Listed;

    /// <summary>Finds a sale by its id. Null when it is not published.</summary>
    public SaleOnSale? Find(ReadOnlySpan<char> saleId) => _snapshot.ById.TryGetValue(saleId, out var sale) ? sale : null;

    /// <summary>Finds a sale by the number inside an order id. Null when it is not published.</summary>
    public SaleOnSale? Find(int number) => _snapshot.ByNumber.GetValueOrDefault(number);

    /// <summary>Looks for a newer version of the published sales, and follows it before the call returns.</summary>
    public Task RefreshAsync() => _feed.RefreshAsync();

    // The feed calls this, one call at a time.
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
