using System.Text;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>
/// The Redis keys of one sale. One hash tag, so that a purchase stays in one cluster slot.
/// <code>
/// fs:{sale}:sale            hash    epoch, status, opens, closes (Unix ms), limit (0 = none), buckets, tickets (1 = a purchase needs one), admission (tickets per second, 0 = no bound), back (latest of hash back), left (items that have something left), version, run (verified Redis run id), held (a rebuild is under way)
/// fs:{sale}:stock           hash    sku -> remaining units
/// fs:{sale}:limit           hash    sku -> per-user limit
/// fs:{sale}:inflight        hash    order id (16 bytes) -> acceptedAt (6 bytes) + reservation record, until settled
/// fs:{sale}:inflight_units  hash    sku -> units in flight
/// fs:{sale}:owed            hash    sku -> units that settling could not take
/// fs:{sale}:back            hash    sku -> Redis TIME (ms) at which the item had units again after it had none
/// fs:{sale}:stocked         hash    sku -> units of stock after its latest change since the sale was loaded
/// fs:{sale}:outbox          stream  r -> version byte + reservation records of one call
/// fs:{sale}:returned        hash    order id (16 bytes) of a stock return, or name of a stock change -> epoch it was applied under (negative: refused)
/// fs:{sale}:kept            stream  outbox entries settled lately, pack by pack: id, records, id, records, ..; only while Postgres has a standby
/// fs:{sale}:facts:E:B       hash    of epoch E, bucket B (user hash mod buckets), packed:
///                                   idempotency fingerprint (16) -> order id (16) acceptedAt (6) item (4) quantity (2)
///                                   user hash (8) + item (4) -> units of the item;  user hash (8) -> units in the sale, where it has a limit;  start of a burnt ticket's id (10) -> 1
/// fs:{sale}:buyers:E        string  user hashes (8 bytes each) in the order of their acceptances, up to <see cref="MaxBuyersBytes"/>
/// fs:{sale}:shadow:E:NAME           what a load of epoch E will put in the place of stock, limit, inflight, inflight_units
/// fs:{sale}:epochs          hash    E -> buckets, for each epoch of which there may be keys: written before the first of them
/// fs:{sale}:admission       hash    tokens, at (microseconds of Redis TIME): the token bucket of the admission rate; expires when it is full
/// fs:{sale}:ticket:U        string  the latest ticket (28 bytes) of the user with hash U (hex), used or not; expires with it
/// fs:{sale}:solved:C        string  challenge C (start of its hash, hex) was answered; expires with the challenge
/// </code>
/// Facts carry the epoch in their name: a rebuild writes the next epoch's beside them, and one HSET swaps.
/// </summary>
public sealed class SaleKeys
{
    /// <summary>Set of the ids of all sales that may have an outbox: relays find their work here with Postgres away.</summary>
    public static readonly RedisKey Outboxes = "fs:outboxes";

    /// <summary>Hash of published sales, see <see cref="CatalogPublisher"/> and <see cref="FlashSale.Platform.PublishedDocuments"/>; also the channel that announces a change.</summary>
    public static readonly RedisKey Catalog = "fs:catalog";

    /// <summary>Where the log of buyers ends (60 million acceptances under one epoch): Redis refuses a text beyond 512 MB.</summary>
    public const int MaxBuyersBytes = 480 * 1024 * 1024;

    // They hold 600,000 orders as listpacks.
    private const int LeastBuckets = 1 << 12;

    private static readonly string[] Swapped = ["stock", "limit", "inflight", "inflight_units"];

    /// <summary>Makes the keys of a sale.</summary>
    public SaleKeys(string saleId)
    {
        Prefix = $"fs:{{{saleId}}}:";
        Sale = Make("sale");
        Stock = Make("stock");
        Stocked = Make("stocked");
        Limit = Make("limit");
        Inflight = Make("inflight");
        InflightUnits = Make("inflight_units");
        Outbox = Make("outbox");
        Returned = Make("returned");
        Kept = Make("kept");
        Epochs = Make("epochs");
        Admission = Make("admission");
        OfReserve = [Sale, Stock, Limit, Inflight, InflightUnits, Outbox];
    }

    /// <summary>What all keys of the sale start with.</summary>
    public string Prefix { get; }

    /// <summary>The sale's state.</summary>
    public RedisKey Sale { get; }

    /// <summary>Remaining units.</summary>
    public RedisKey Stock { get; }

    /// <summary>Units of stock of the items that were changed.</summary>
    public RedisKey Stocked { get; }

    /// <summary>Per-user limits.</summary>
    public RedisKey Limit { get; }

    /// <summary>Accepted, not yet settled orders.</summary>
    public RedisKey Inflight { get; }

    /// <summary>Units of the in-flight orders.</summary>
    public RedisKey InflightUnits { get; }

    /// <summary>Reservations on their way to Postgres.</summary>
    public RedisKey Outbox { get; }

    /// <summary>Returns and stock changes that were applied.</summary>
    public RedisKey Returned { get; }

    /// <summary>Outbox entries that were settled lately, see <see cref="SaleKeys"/>.</summary>
    public RedisKey Kept { get; }

    /// <summary>The epochs of which there may be keys.</summary>
    public RedisKey Epochs { get; }

    /// <summary>The token bucket of the admission rate.</summary>
    public RedisKey Admission { get; }

    /// <summary>What reserve.lua takes: made once, since every purchase needs it.</summary>
    public RedisKey[] OfReserve { get; }

    /// <summary>A bucket of facts.</summary>
    public RedisKey Facts(long epoch, long bucket) => Make($"facts:{epoch}:{bucket}");

    /// <summary>The mark of a challenge that was answered.</summary>
    /// <param name="challenge">What tells it from others.</param>
    public RedisKey Solved(ReadOnlySpan<byte> challenge) => Make($"solved:{Convert.ToHexStringLower(challenge)}");

    /// <summary>The latest ticket of a user.</summary>
    /// <param name="userHash">See <see cref="Contracts.Fingerprints.OfUser"/>.</param>
    public RedisKey Ticket(ulong userHash) => Make($"ticket:{userHash:x16}");

    /// <summary>The log of buyers.</summary>
    public RedisKey Buyers(long epoch) => Make($"buyers:{epoch}");

    /// <summary>What a load prepares for a key of the sale.</summary>
    /// <param name="epoch">Of the load.</param>
    /// <param name="name">stock, limit, inflight or inflight_units.</param>
    public RedisKey Shadow(long epoch, string name) => Make($"shadow:{epoch}:{name}");

    /// <summary>All keys that carry an epoch in their name, whether they are there or not.</summary>
    public IEnumerable<RedisKey> OfEpoch(long epoch, int buckets) =>
        Enumerable.Range(0, buckets).Select(bucket => Facts(epoch, bucket)).Append(Buyers(epoch)).Concat(Swapped.Select(name => Shadow(epoch, name)));

    /// <summary>The channel on which settled orders are announced.</summary>
    public string SettledChannel => Prefix + "settled";

    /// <summary>
    /// How many buckets a sale of that many units gets: about 20 orders (60 facts) in each, so that a bucket
    /// stays a listpack (512 fields) and looking a fact up stays a short scan. Their number is fixed until the next load:
    /// there are enough of them for a small sale to become a large one, since a bucket without orders costs nothing.
    /// </summary>
    public static int BucketsFor(long units) => (int)Math.Clamp((units + 19) / 20, LeastBuckets, 1 << 20);

    // Bytes, not text: StackExchange.Redis would encode a string key anew on every call.
    private RedisKey Make(string name) => Encoding.UTF8.GetBytes(Prefix + name);
}
