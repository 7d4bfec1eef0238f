using System.Text.Json;
using Dapper;
using FlashSale.Platform;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>
/// Copies a sale from Postgres, where managers change it, to Redis, where it is sold: the state that the scripts read,
/// and the published document that the nodes read. Redis takes only higher versions of either, so any process may
/// publish at any time, twice or late.
/// </summary>
public sealed class CatalogPublisher(NpgsqlDataSource postgres, RedisConnection redis)
{
    private static readonly RedisScript SetStateScript = new("Sales.set_state.lua");

    /// <summary>
    /// Publishes the state that Postgres has of a sale. Drafts are not published. Archived sales are taken out of the
    /// catalog. When Postgres was replaced by a standby that lacked the last commits, Redis may have a version that
    /// Postgres lost. The sale then gets a version above that one.
    /// </summary>
    /// <returns>
    /// The sale as read here. Redis now has this version or a later one. Null for a draft or an unknown sale.
    /// </returns>
    public async Task<PublishedSale?> PublishAsync(string saleId, CancellationToken cancellation)
    {
        while (true)
        {
            if (await ReadAsync(saleId, cancellation) is not { Status: not SaleStatus.Draft } sale) return null;
            if (await PublishAsync(sale) is not (> 0 and var later)) return sale;
            // Usually another process changed and published the sale meanwhile, and the next read finds its version.
            await RaiseVersionAsync(saleId, later, cancellation);
        }
    }

    // Returns the higher version that Redis has, or 0 when Redis has this version.
    private async Task<long> PublishAsync(PublishedSale sale)
    {
        // Publish the state before the document. A node that learns of an opening or a pause must find that the script
        // agrees.
        var state = (long)await SetStateScript.CallAsync(redis, [new SaleKeys(sale.SaleId).Sale],
            [sale.Epoch, sale.Version, StatusText(sale.Status), sale.OpensAt, sale.ClosesAt]);
        if (state > 0) return state;
        var json = sale.Status is SaleStatus.Archived ? [] : JsonSerializer.SerializeToUtf8Bytes(sale, CatalogJson.Default.PublishedSale);
        return await PublishedDocuments.PublishAsync(redis, SaleKeys.Catalog, sale.SaleId, sale.Version, json);
    }

    private async Task RaiseVersionAsync(string saleId, long above, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (!await SaleLock.ShareAsync(transaction, saleId)) return;
        await connection.ExecuteAsync("update sale set version = @above + 1 where sale_id = @saleId and version < @above", new { saleId, above }, transaction);
        await transaction.CommitAsync(cancellation);
    }

    /// <summary>Takes a sale that Postgres does not know out of the catalog.</summary>
    /// <param name="saleId">The id of the sale.</param>
    /// <param name="above">The version that is published now. The removal has the next one.</param>
    public Task RemoveAsync(string saleId, long above) => PublishedDocuments.PublishAsync(redis, SaleKeys.Catalog, saleId, above + 1, []);

    /// <summary>The versions that are published in Redis, by sale id.</summary>
    public Task<Dictionary<string, long>> PublishedVersionsAsync() => PublishedDocuments.VersionsAsync(redis, SaleKeys.Catalog);

    /// <summary>Reads a sale and its items from one snapshot of Postgres. Null when there is no such sale.</summary>
    public async Task<PublishedSale?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, cancellation);
        return await ReadAsync(connection, saleId);
    }

    /// <summary>
    /// Reads a sale and its items. The caller's transaction must make sure that neither changes between the two
    /// queries. Null when there is no such sale.
    /// </summary>
    public static async Task<PublishedSale?> ReadAsync(NpgsqlConnection connection, string saleId)
    {
        var sale = await connection.QuerySingleOrDefaultAsync<SaleRow>("""
            select sale_id, number, version, epoch, name, status,
                   (extract(epoch from opens_at) * 1000)::bigint as opens_at, (extract(epoch from closes_at) * 1000)::bigint as closes_at,
                   per_user_limit, pay_within_seconds, requires_ticket, admission_per_second, load_run as is_load_run
            from sale where sale_id = @saleId
            """, new { saleId });
        if (sale is null) return null;
        var items = await connection.QueryAsync<PublishedItem>("""
            select item_no as "Number", sku, name, price, list_price as "ListPrice", currency, per_user_limit as "PerUserLimit", stock
            from sale_item where sale_id = @saleId order by item_no
            """, new { saleId });
        return new PublishedSale(sale.SaleId, sale.Number, sale.Version, sale.Epoch, sale.Name, Enum.Parse<SaleStatus>(sale.Status, ignoreCase: true),
            sale.OpensAt, sale.ClosesAt, sale.PerUserLimit, sale.PayWithinSeconds, sale.RequiresTicket, sale.AdmissionPerSecond, sale.IsLoadRun, items.AsList());
    }

    /// <summary>The word for a status in the scripts and in table <c>sale</c>.</summary>
    public static string StatusText(SaleStatus status) => status switch
    {
        SaleStatus.Draft => "draft",
        SaleStatus.Live => "live",
        SaleStatus.Paused => "paused",
        SaleStatus.Closed => "closed",
        SaleStatus.Archived => "archived",
    };

    private sealed record SaleRow(
        string SaleId, int Number, long Version, long Epoch, string Name, string Status, long OpensAt, long ClosesAt,
        int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun);
}
