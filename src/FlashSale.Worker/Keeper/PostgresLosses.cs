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
/// Makes good, or holds, what a Postgres lost: orders that Redis still has are stored again, sales of which Redis knows
/// more are paused, and numbers go on above all that were given.
/// </summary>
public sealed partial class PostgresLosses(
    NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, SettledLog settled, ReservationSettler settler,
    BlocklistPublisher blocklist, OpsSettings ops, ILogger<PostgresLosses> logger)
{
    // A pack that is kept just before its beat, by a clock that a failover of Redis may have moved.
    private const long MarginMilliseconds = 1_000;

    /// <summary>The sales that Redis may have an outbox of.</summary>
    public async Task<IReadOnlyList<string>> SalesAsync() =>
        [.. (await redis.CallAsync(database => database.SetMembersAsync(SaleKeys.Outboxes))).Select(member => (string)member!)];

    /// <summary>Stores orders again that were stored and settled in that time; those that are there change nothing.</summary>
    /// <returns>How many.</returns>
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

    /// <summary>Pauses the sales of which Redis has a later version: a manager's change to them was lost.</summary>
    /// <returns>How many.</returns>
    public Task<int> HoldOutdatedAsync(CancellationToken cancellation) =>
        HoldAsync((sale, known) => sale is null || known.Version > sale.Version || known.Epoch > 0 && sale.Epoch == 0,
            "A promoted standby of Postgres lacks the last change to it", cancellation);

    /// <summary>Pauses all sales that Redis knows, those too that Postgres knows as drafts or not at all.</summary>
    public Task HoldAllAsync(CancellationToken cancellation) => HoldAsync((_, _) => true, "Postgres was restored to an earlier point", cancellation);

    /// <summary>Lets the numbers of sales go on above all that were given: another sale of the same number would inherit what Redis has of it.</summary>
    /// <param name="saleNumber">The highest sale number that was ever seen.</param>
    /// <param name="cancellation">Ends it.</param>
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

    /// <summary>Lets the versions of settings go on above all that were given, and Redis take the blocklist as Postgres has it.</summary>
    public async Task OutrankSettingsAsync(CancellationToken cancellation)
    {
        await blocklist.ReplaceAsync(cancellation);
        await ops.OutrankAsync(cancellation);
    }

    private async Task<int> HoldAsync(Func<SaleRow?, Known, bool> isHeld, string reason, CancellationToken cancellation)
    {
        // Redis first, so that Postgres can only be further: what a manager changes at this moment is not lost.
        var known = await KnownAsync();
        var sales = await ReadAsync(cancellation);
        var held = 0;
        // Newest first: those are sold from.
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

    // Nothing of it can be stored, so nothing of it may be sold.
    private async Task ExcludeAsync(string saleId, Known known)
    {
        LogUnknown(saleId);
        await SaleHold.HoldAsync(redis, new SaleKeys(saleId), known.Epoch + 1);
        await publisher.RemoveAsync(saleId, known.Version);
    }

    // What is published is of a later version, and perhaps epoch, than this Postgres knows, and would not give way. A draft that Redis
    // sells was loaded: it is paused, for orders of it come in, and its items must stay as they were bought.
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

    // What Redis has of a sale; 0 where it has nothing.
    private sealed record Known(long Epoch, long Version);
}
