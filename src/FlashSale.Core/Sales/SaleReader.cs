using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>A sale without its items.</summary>
/// <param name="SaleId">The sale id, such as <c>s12</c>.</param>
/// <param name="Number">The number inside order ids.</param>
/// <param name="Name">The name that people see.</param>
/// <param name="StoredStatus">draft, live, paused, closed or archived.</param>
/// <param name="OpensAt">Unix milliseconds.</param>
/// <param name="ClosesAt">Unix milliseconds.</param>
/// <param name="PerUserLimit">Units that one user may buy over all items. Null without such a limit.</param>
/// <param name="PayWithinSeconds">How long an order may stay unpaid.</param>
/// <param name="RequiresTicket">Whether a purchase needs a ticket.</param>
/// <param name="AdmissionPerSecond">Tickets per second of the whole sale. Null without a bound.</param>
/// <param name="IsLoadRun">
/// Whether the shoppers are a load generator. The shoppers' list and the order events leave such a sale out.
/// </param>
/// <param name="Epoch">The fencing number of the latest load. It is 0 until the sale is loaded.</param>
/// <param name="Version">Raised by every change.</param>
/// <param name="RebuildRequired">
/// Whether Postgres was restored to an earlier point. The sale then sells nothing until it is rebuilt.
/// </param>
/// <param name="ItemCount">Number of items.</param>
/// <param name="Units">Units of stock of all items together.</param>
/// <param name="PostgresNow">The time of Postgres at the read, Unix milliseconds.</param>
public sealed record SaleHead(
    string SaleId, int Number, string Name, string StoredStatus, long OpensAt, long ClosesAt, int? PerUserLimit, int PayWithinSeconds,
    bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun, long Epoch, long Version, bool RebuildRequired, long ItemCount, long Units, long PostgresNow)
{
    /// <summary>The stored status. Unlike a phase it does not depend on the clock.</summary>
    public SaleStatus Status => Enum.Parse<SaleStatus>(StoredStatus, ignoreCase: true);

    /// <summary>Joins the sale and its items.</summary>
    public PublishedSale With(IReadOnlyList<PublishedItem> items) =>
        new(SaleId, Number, Version, Epoch, Name, Status, OpensAt, ClosesAt, PerUserLimit, PayWithinSeconds, RequiresTicket, AdmissionPerSecond, IsLoadRun, items);
}

/// <summary>Reads sales for managers, drafts included. It needs Postgres only.</summary>
public sealed class SaleReader(NpgsqlDataSource postgres, RedisConnection redis)
{
    private const string Columns = """
        s.sale_id, s.number, s.name, s.status as stored_status,
        (extract(epoch from s.opens_at) * 1000)::bigint as opens_at, (extract(epoch from s.closes_at) * 1000)::bigint as closes_at,
        s.per_user_limit, s.pay_within_seconds, s.requires_ticket, s.admission_per_second, s.load_run as is_load_run, s.epoch, s.version, s.rebuild_required,
        i.item_count, i.units, (extract(epoch from now()) * 1000)::bigint as postgres_now
        """;

    // A lateral query instead of a join: it counts through the primary key, and only for the sales of one page.
    private const string Counts =
        "lateral (select count(*) as item_count, coalesce(sum(t.stock), 0)::bigint as units from sale_item t where t.sale_id = s.sale_id) i";

    /// <summary>
    /// The time that phases are derived from, Unix milliseconds. It is Redis TIME, which the scripts judge by, while
    /// Redis answers, else the time of Postgres.
    /// </summary>
    public long Now(SaleHead sale) => redis.IsHealthy ? redis.NowMilliseconds : sale.PostgresNow;

    /// <summary>Reads a sale. Null when there is no such sale.</summary>
    public async Task<SaleHead?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        if (!SaleBounds.IsSaleId(saleId)) return null;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<SaleHead>(
            new CommandDefinition($"select {Columns} from sale s, {Counts} where s.sale_id = @saleId", new { saleId }, cancellationToken: cancellation));
    }

    /// <summary>Reads sales, newest first.</summary>
    /// <param name="limit">The most sales to return.</param>
    /// <param name="before">Returns only sales with a lower number. Null starts with the newest.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<SaleHead>> ListAsync(int limit, long? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var sales = await connection.QueryAsync<SaleHead>(new CommandDefinition($"""
            select {Columns}
            from (select * from sale where @before::bigint is null or number < @before order by number desc limit @limit) s, {Counts}
            order by s.number desc
            """, new { limit, before }, cancellationToken: cancellation));
        return sales.AsList();
    }

    /// <summary>Reads the items of a sale in the order in which they were given.</summary>
    public async Task<IReadOnlyList<PublishedItem>> ItemsAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var items = await connection.QueryAsync<PublishedItem>(new CommandDefinition("""
            select item_no as "Number", sku, name, price, list_price as "ListPrice", currency, per_user_limit as "PerUserLimit", stock
            from sale_item where sale_id = @saleId order by item_no
            """, new { saleId }, cancellationToken: cancellation));
        return items.AsList();
    }
}
