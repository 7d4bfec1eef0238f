using System.Globalization;
using Dapper;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Ledger;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Deals with the losses of a Postgres that lost data. It stores orders again that Redis still has, pauses sales of
/// which Redis has a later state, and raises the numbers and versions above all that were given.
/// </summary>
public sealed partial class PostgresLosses(
    NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, SettledLog settled, ReservationSettler settler,
    BlocklistPublisher blocklist, OpsSettings ops, ILogger<PostgresLosses> logger)
{
    // A pack may be kept just before its beat, and a failover of Redis may have moved the clock.
    private const long MarginMilliseconds = 1_000;

    /// <summary>Reads the ids of the sales that may have an outbox in Redis.</summary>
    public async Task<IReadOnlyList<string>> SalesAsync() =>
        [.. (await redis.CallAsync(database => database.SetMembersAsync(SaleKeys.Outboxes))).Select(member => (string)member!)];

    /// <summary>
    /// Stores the orders again that were stored and settled between <paramref name="since"/> and
    /// <paramref name="until"/> (Redis TIME, Unix milliseconds). Orders that Postgres still has do not change.
    /// </summary>
    /// <returns>How many orders were handled, those that Postgres still has included.</returns>
    public async Task<int> StoreAgainAsync(long since, long until, CancellationToken cancellation)
    {
        var stored = 0;
        foreach (var saleId in await SalesAsync())
        {
            await foreach (var pack in settled.ReadAsync(saleId, since - MarginMilliseconds, until).WithCancellation(cancellation))
            {
                await settler.HandleAsync(pack, cancellation);
                stored += pack.Entries.Sum(entry => ReservationCodec.Count(entry.Records));
            }
        }
        return stored;
    }

    /// <summary>
    /// Pauses the sales that Redis has in a later version than Postgres: a manager's change to them was lost.
    /// </summary>
    /// <returns>How many sales were paused.</returns>
    public Task<int> HoldOutdatedAsync(CancellationToken cancellation) =>
        HoldAsync((sale, known) => sale is null || known.Version > sale.Version || known.Epoch > 0 && sale.Epoch == 0,
            "A promoted standby of Postgres lacks the last change to it", cancellation);

    /// <summary>
    /// Pauses all sales that were loaded or that Redis knows, even those that Postgres has as drafts or does not know.
    /// </summary>
    public Task HoldAllAsync(CancellationToken cancellation) => HoldAsync((_, _) => true, "Postgres was restored to an earlier point", cancellation);

    /// <summary>
    /// Raises the sequence of sale numbers above all numbers that were given. Another sale with the same number would
    /// inherit the data that Redis has of the old one.
    /// </summary>
    /// <param name="saleNumber">The highest sale number that was ever seen.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task OutrankSalesAsync(int saleNumber, CancellationToken cancellation)
    {
        foreach (var saleId in (await publisher.PublishedVersionsAsync()).Keys.Concat(await SalesAsync()))
        {
            if (saleId is ['s', .. var digits] && int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number)) saleNumber = Math.Max(saleNumber, number);
        }
        if (saleNumber == 0) return;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition(
            "select setval('sale_number', greatest(@saleNumber, last_value)) from sale_number", new { saleNumber }, cancellationToken: cancellation));
    }

    /// <summary>
    /// Raises the versions of settings above all that were given, and replaces the blocklist in Redis with that of
    /// Postgres.
    /// </summary>
    public async Task OutrankSettingsAsync(CancellationToken cancellation)
    {
        await blocklist.ReplaceAsync(cancellation);
        await ops.OutrankAsync(cancellation);
    }

    private async Task<int> HoldAsync(Func<SaleRow?, Known, bool> isHeld, string reason, CancellationToken cancellation)
    {
        // Redis is read first, so that Postgres can only be ahead of it: a change that a manager makes at this moment
        // does not look lost.
        var known = await KnownAsync();
        var sales = await ReadAsync(cancellation);
        var held = 0;
        // The newest sales come first, since shoppers buy from those.
        var ids = sales.Where(sale => sale.Value.Epoch > 0).Select(sale => sale.Key).Union(known.Keys);
        foreach (var saleId in ids.OrderByDescending(id => id.Length).ThenByDescending(id => id, StringComparer.Ordinal))
        {
            var sale = sales.GetValueOrDefault(saleId);
            var inRedis = known.GetValueOrDefault(saleId, new Known(0, 0));
            if (sale?.Status == "archived" || !isHeld(sale, inRedis)) continue;
            if (sale is null or { Status: "draft", ItemCount: 0 }) await ExcludeAsync(saleId, inRedis);
            else await HoldAsync(sale, inRedis, reason, cancellation);
            held++;
        }
        return held;
    }

    private async Task<Dictionary<string, Known>> KnownAsync()
    {
        var published = await publisher.PublishedVersionsAsync();
        var known = new Dictionary<string, Known>(StringComparer.Ordinal);
        foreach (var saleId in (await SalesAsync()).Union(published.Keys))
        {
            var fields = await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(saleId).Sale, ["epoch", "version"]));
            known[saleId] = new Known((long?)fields[0] ?? 0, Math.Max((long?)fields[1] ?? 0, published.GetValueOrDefault(saleId)));
        }
        return known;
    }

    // Postgres can store no order of this sale, so Redis must not sell it.
    private async Task ExcludeAsync(string saleId, Known known)
    {
        LogUnknown(saleId);
        await SaleHold.HoldAsync(redis, new SaleKeys(saleId), known.Epoch + 1);
        await publisher.RemoveAsync(saleId, known.Version);
    }

    // Redis may have a later version, and perhaps a later epoch, than this Postgres, and would refuse a lower one. So
    // the update goes above that version and keeps the later epoch. A draft that Redis sells was loaded. It is paused
    // and no draft any more, because orders of it come in and its items must stay as they were bought.
    private async Task HoldAsync(SaleRow sale, Known known, string reason, CancellationToken cancellation)
    {
        await using (var connection = await postgres.OpenConnectionAsync(cancellation))
        await using (var transaction = await connection.BeginTransactionAsync(cancellation))
        {
            await SaleLock.ShareAsync(transaction, sale.SaleId);
            await connection.ExecuteAsync("""
                update sale set status = case when status in ('live', 'draft') then 'paused' else status end, rebuild_required = true,
                                epoch = greatest(epoch, @Epoch), version = greatest(version, @Version) + 1, updated_at = now()
                where sale_id = @SaleId
                """, new { sale.SaleId, known.Epoch, known.Version }, transaction);
            await AuditLog.WriteAsync(transaction, Actor.Worker, "sale.hold", sale.SaleId, new { sale.Status }, new { reason });
            await transaction.CommitAsync(cancellation);
        }
        await publisher.PublishAsync(sale.SaleId, cancellation);
    }

    private async Task<Dictionary<string, SaleRow>> ReadAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var rows = await connection.QueryAsync<SaleRow>(new CommandDefinition("""
            select sale_id, status, epoch, version, (select count(*) from sale_item i where i.sale_id = s.sale_id)::int as item_count from sale s
            """, cancellationToken: cancellation));
        return rows.ToDictionary(row => row.SaleId, StringComparer.Ordinal);
    }

    [LoggerMessage(1, LogLevel.Error, "Redis sells sale {SaleId}, which Postgres does not know, or without its items: it is held and taken out of the catalog. Orders of it become dead letters")]
    private partial void LogUnknown(string saleId);

    private sealed record SaleRow(string SaleId, string Status, long Epoch, long Version, int ItemCount);

    // The state of a sale in Redis, 0 where Redis has nothing.
    private sealed record Known(long Epoch, long Version);
}
