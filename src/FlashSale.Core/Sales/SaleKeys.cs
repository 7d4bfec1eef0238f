using System.Text;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>
/// The Redis keys of one sale. They share one hash tag, so a purchase stays in one cluster slot.
/// <code>
/// fs:{sale}:sale            hash    epoch, status, opens, closes (Unix ms), limit (0 = no limit), buckets,
///                                   tickets (1 = a purchase needs one), admission (tickets per second, 0 = no bound),
///                                   back (latest time in hash back), left (items that have units left), version,
///                                   run (verified Redis run id), held (a rebuild is under way)
/// fs:{sale}:stock           hash    sku -> remaining units
/// fs:{sale}:limit           hash    sku -> per-user limit
/// fs:{sale}:inflight        hash    order id (16 bytes) -> acceptedAt (6 bytes) + reservation record, until settled
/// fs:{sale}:inflight_units  hash    sku -> units in flight
/// fs:{sale}:owed            hash    sku -> units that settling could not take
/// fs:{sale}:back            hash    sku -> Redis TIME (ms) at which the item had units again after it had 0
/// fs:{sale}:stocked         hash    sku -> units of stock after the item's latest change since the sale was loaded
/// fs:{sale}:outbox          stream  r -> version byte + reservation records of one call
/// fs:{sale}:returned        hash    order id (16 bytes) of a stock return, or name of a stock change ->
///                                   epoch it was applied under (negative: refused)
/// fs:{sale}:kept            stream  outbox entries settled lately, pack by pack: id, records, id, records, ..
///                                   Written only while Postgres has a standby.
/// fs:{sale}:facts:E:B       hash    of epoch E, bucket B (user hash mod buckets), packed:
///                                   idempotency fingerprint (16) -> order id (16) acceptedAt (6) item (4) quantity (2)
///                                   user hash (8) + item (4) -> units of the item
///                                   user hash (8) -> units in the sale, if it has a limit
///                                   start of a burnt ticket's id (10) -> 1
/// fs:{sale}:buyers:E        string  user hashes (8 bytes each) in the order of their acceptances,
///                                   up to <see cref="MaxBuyersBytes"/>
/// fs:{sale}:shadow:E:NAME           the values that a load of epoch E will put in the place of stock, limit, inflight
///                                   and inflight_units
/// fs:{sale}:epochs          hash    E -> buckets, for each epoch that may have keys. Written before the first of them.
/// fs:{sale}:admission       hash    tokens, at (microseconds of Redis TIME): the token bucket of the admission rate.
///                                   Expires when the bucket is full.
/// fs:{sale}:ticket:U        string  the latest ticket (28 bytes) of the user with hash U (hex), used or not.
///                                   Expires with the ticket.
/// fs:{sale}:solved:C        string  challenge C (start of its hash, hex) was answered. Expires with the challenge.
/// </code>
/// Facts carry the epoch in their name. A rebuild writes the facts of the next epoch beside the present ones, and one
/// HSET swaps them.
/// </summary>
public sealed class SaleKeys
{
    /// <summary>
    /// Set of the ids of all sales that may have an outbox. Relays find their work here while Postgres is away.
    /// </summary>
    public static readonly RedisKey Outboxes = "fs:outboxes";

    /// <summary>
    /// Hash of published sales, see <see cref="CatalogPublisher"/> and
    /// <see cref="FlashSale.Platform.PublishedDocuments"/>. Changes are announced on the channel of the same name.
    /// </summary>
    public static readonly RedisKey Catalog = "fs:catalog";

    /// <summary>
    /// Largest log of buyers, in bytes: 60 million acceptances of one epoch. Redis refuses a string beyond 512 MB.
    /// </summary>
    public const int MaxBuyersBytes = 480 * 1024 * 1024;

    // This many buckets hold 600,000 orders as listpacks.
    private const int LeastBuckets = 1 << 12;

    private static readonly string[] Swapped = ["stock", "limit", "inflight", "inflight_units"];

    /// <summary>Makes the keys of a sale. It does not call Redis.</summary>
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

    /// <summary>The prefix of all keys of the sale: <c>fs:{sale}:</c>.</summary>
    public string Prefix { get; }

    /// <summary>
    /// Hash <c>sale</c>: the sale's state. All keys are described in the summary of <see cref="SaleKeys"/>.
    /// </summary>
    public RedisKey Sale { get; }

    /// <summary>Hash <c>stock</c>: remaining units by sku.</summary>
    public RedisKey Stock { get; }

    /// <summary>Hash <c>stocked</c>: units of stock of the items that were changed since the load.</summary>
    public RedisKey Stocked { get; }

    /// <summary>Hash <c>limit</c>: per-user limits by sku.</summary>
    public RedisKey Limit { get; }

    /// <summary>Hash <c>inflight</c>: orders that are accepted and not yet settled.</summary>
    public RedisKey Inflight { get; }

    /// <summary>Hash <c>inflight_units</c>: units of the orders in flight, by sku.</summary>
    public RedisKey InflightUnits { get; }

    /// <summary>Stream <c>outbox</c>: reservations on their way to Postgres.</summary>
    public RedisKey Outbox { get; }

    /// <summary>Hash <c>returned</c>: stock returns and stock changes that Redis has decided.</summary>
    public RedisKey Returned { get; }

    /// <summary>Stream <c>kept</c>: outbox entries that were settled lately.</summary>
    public RedisKey Kept { get; }

    /// <summary>Hash <c>epochs</c>: the epochs that may have keys.</summary>
    public RedisKey Epochs { get; }

    /// <summary>Hash <c>admission</c>: the token bucket of the admission rate.</summary>
    public RedisKey Admission { get; }

    /// <summary>
    /// The KEYS of reserve.lua, in their order. Made once per sale, because every purchase needs them.
    /// </summary>
    public RedisKey[] OfReserve { get; }

    /// <summary>Hash <c>facts:E:B</c>: one bucket of the facts of an epoch.</summary>
    public RedisKey Facts(long epoch, long bucket) => Make($"facts:{epoch}:{bucket}");

    /// <summary>String <c>solved:C</c>: marks a challenge that was answered.</summary>
    /// <param name="challenge">The start of the challenge's hash.</param>
    public RedisKey Solved(ReadOnlySpan<byte> challenge) => Make($"solved:{Convert.ToHexStringLower(challenge)}");

    /// <summary>String <c>ticket:U</c>: the latest ticket of a user.</summary>
    /// <param name="userHash">The user's <see cref="Contracts.Fingerprints.OfUser"/>.</param>
    public RedisKey Ticket(ulong userHash) => Make($"ticket:{userHash:x16}");

    /// <summary>String <c>buyers:E</c>: the log of buyers of an epoch.</summary>
    public RedisKey Buyers(long epoch) => Make($"buyers:{epoch}");

    /// <summary>Key <c>shadow:E:NAME</c>: the values that a load prepares for another key of the sale.</summary>
    /// <param name="epoch">The epoch of the load.</param>
    /// <param name="name">stock, limit, inflight or inflight_units.</param>
    public RedisKey Shadow(long epoch, string name) => Make($"shadow:{epoch}:{name}");

    /// <summary>All keys that carry this epoch in their name, existing or not.</summary>
    public IEnumerable<RedisKey> OfEpoch(long epoch, int buckets) =>
        Enumerable.Range(0, buckets).Select(bucket => Facts(epoch, bucket)).Append(Buyers(epoch)).Concat(Swapped.Select(name => Shadow(epoch, name)));

    /// <summary>The channel on which settled orders are announced.</summary>
    public string SettledChannel => Prefix + "settled";

    /// <summary>
    /// The number of buckets for a sale of that many units: about 20 orders (60 facts) in each. A bucket then stays a
    /// listpack (512 fields), and a look-up in it is a short scan. The number is fixed until the next load. A small
    /// sale gets enough buckets to become a large one, because a bucket without orders costs nothing.
    /// </summary>
    public static int BucketsFor(long units) => (int)Math.Clamp((units + 19) / 20, LeastBuckets, 1 << 20);

    // Keys are bytes, because StackExchange.Redis would encode a string key on every call.
    private RedisKey Make(string name) => Encoding.UTF8.GetBytes(Prefix + name);
}
