using Dapper;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>The result of a change to a draft.</summary>
public enum DraftResult
{
    /// <summary>The change was committed.</summary>
    Done,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>The sale is no longer a draft.</summary>
    NotDraft,

    /// <summary>The draft's version is not one of those that the change was meant for.</summary>
    Changed,

    /// <summary>The sale would have more than <see cref="SaleBounds.MaxItems"/> items.</summary>
    TooManyItems,
}

/// <summary>
/// Creates, replaces and deletes drafts in Postgres. Every change and its audit entry are one transaction.
/// </summary>
public sealed class SaleStore(NpgsqlDataSource postgres)
{
    private const string InsertItems = """
        insert into sale_item (sale_id, sku, item_no, name, price, list_price, currency, stock, per_user_limit)
        select @saleId, i.sku, i.item_no, i.name, i.price, i.list_price, i.currency, i.stock, i.per_user_limit
        from unnest(@skus, @names, @prices, @listPrices, @currencies, @stocks, @limits) with ordinality
             as i (sku, name, price, list_price, currency, stock, per_user_limit, item_no)
        """;

    /// <summary>
    /// Creates a draft under the next sale number: table <c>sale</c>, and its items in <c>sale_item</c>.
    /// </summary>
    /// <returns>The sale id: <c>s</c> and the sale's number.</returns>
    public async Task<string> CreateAsync(SaleDraft draft, Actor actor, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var saleId = await connection.QuerySingleAsync<string>("""
            insert into sale (sale_id, number, name, opens_at, closes_at, per_user_limit, pay_within_seconds, requires_ticket, admission_per_second, load_run)
            select 's' || n, n, @Name, @opensAt, @closesAt, @PerUserLimit, @PayWithinSeconds, @RequiresTicket, @AdmissionPerSecond, @IsLoadRun from nextval('sale_number') n
            returning sale_id
            """, Arguments(draft), transaction);
        await InsertItemsAsync(transaction, saleId, draft.Items);
        await AuditLog.WriteAsync(transaction, actor, "sale.create", saleId, null, await SnapshotAsync(transaction, saleId));
        await transaction.CommitAsync(cancellation);
        return saleId;
    }

    /// <summary>Replaces all settings of a draft, and its items.</summary>
    /// <param name="saleId">The draft.</param>
    /// <param name="draft">The new settings and items.</param>
    /// <param name="ifVersions">The versions that may be replaced. Null replaces any version.</param>
    /// <param name="actor">The name and role for the audit log.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<DraftResult> ReplaceAsync(string saleId, SaleDraft draft, IReadOnlyList<long>? ifVersions, Actor actor, CancellationToken cancellation)
    {
        if (!SaleBounds.IsSaleId(saleId)) return DraftResult.SaleNotFound;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (!await SaleLock.ShareAsync(transaction, saleId)) return DraftResult.SaleNotFound;
        if (await TouchDraftAsync(transaction, saleId, ifVersions) is var touched and not DraftResult.Done) return touched;
        var before = await SnapshotAsync(transaction, saleId);
        var arguments = Arguments(draft);
        arguments.Add("saleId", saleId);
        await connection.ExecuteAsync("""
            update sale set name = @Name, opens_at = @opensAt, closes_at = @closesAt, per_user_limit = @PerUserLimit, pay_within_seconds = @PayWithinSeconds,
                            requires_ticket = @RequiresTicket, admission_per_second = @AdmissionPerSecond, load_run = @IsLoadRun
            where sale_id = @saleId
            """, arguments, transaction);
        await connection.ExecuteAsync("delete from sale_item where sale_id = @saleId", new { saleId }, transaction);
        await InsertItemsAsync(transaction, saleId, draft.Items);
        await AuditLog.WriteAsync(transaction, actor, "sale.replace", saleId, before, await SnapshotAsync(transaction, saleId));
        await transaction.CommitAsync(cancellation);
        return DraftResult.Done;
    }

    /// <summary>
    /// Deletes a draft and its items. Its number is part of order ids, so it is never given to another sale.
    /// </summary>
    public async Task<DraftResult> DeleteAsync(string saleId, IReadOnlyList<long>? ifVersions, Actor actor, CancellationToken cancellation)
    {
        if (!SaleBounds.IsSaleId(saleId)) return DraftResult.SaleNotFound;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (!await SaleLock.ShareAsync(transaction, saleId)) return DraftResult.SaleNotFound;
        if (await TouchDraftAsync(transaction, saleId, ifVersions) is var touched and not DraftResult.Done) return touched;
        await AuditLog.WriteAsync(transaction, actor, "sale.delete", saleId, await SnapshotAsync(transaction, saleId), null);
        await connection.ExecuteAsync("delete from sale_item where sale_id = @saleId; delete from sale where sale_id = @saleId", new { saleId }, transaction);
        await transaction.CommitAsync(cancellation);
        return DraftResult.Done;
    }

    /// <summary>
    /// Takes the row lock of a draft and raises its version. In a restored Postgres a sale that has already been sold
    /// from may have the status draft again. Its epoch or <c>rebuild_required</c> shows that, and the answer is
    /// <see cref="DraftResult.NotDraft"/>: Redis has sold units of its items, so they must not change.
    /// </summary>
    internal static async Task<DraftResult> TouchDraftAsync(NpgsqlTransaction transaction, string saleId, IReadOnlyList<long>? ifVersions)
    {
        var version = await transaction.Connection!.QuerySingleOrDefaultAsync<long?>("""
            select version from sale where sale_id = @saleId and status = 'draft' and epoch = 0 and not rebuild_required for update
            """, new { saleId }, transaction);
        if (version is null) return DraftResult.NotDraft;
        if (ifVersions?.Contains(version.Value) is false) return DraftResult.Changed;
        await transaction.Connection!.ExecuteAsync("update sale set version = version + 1, updated_at = now() where sale_id = @saleId", new { saleId }, transaction);
        return DraftResult.Done;
    }

    /// <summary>
    /// The JSON of a sale that the audit log keeps (SQL function <c>sale_snapshot</c>). Null when there is no such
    /// sale.
    /// </summary>
    internal static Task<string?> SnapshotAsync(NpgsqlTransaction transaction, string saleId) =>
        transaction.Connection!.QuerySingleAsync<string?>("select sale_snapshot(@saleId)::text", new { saleId }, transaction);

    private static DynamicParameters Arguments(SaleDraft draft)
    {
        var arguments = new DynamicParameters(new { draft.Name, draft.PerUserLimit, draft.PayWithinSeconds, draft.RequiresTicket, draft.AdmissionPerSecond, draft.IsLoadRun });
        arguments.Add("opensAt", DateTimeOffset.FromUnixTimeMilliseconds(draft.OpensAt));
        arguments.Add("closesAt", DateTimeOffset.FromUnixTimeMilliseconds(draft.ClosesAt));
        return arguments;
    }

    private static Task<int> InsertItemsAsync(NpgsqlTransaction transaction, string saleId, IReadOnlyList<ItemDraft> items) =>
        transaction.Connection!.ExecuteAsync(InsertItems, new
        {
            saleId,
            skus = items.Select(item => item.Sku).ToArray(),
            names = items.Select(item => item.Name).ToArray(),
            prices = items.Select(item => item.Price).ToArray(),
            listPrices = items.Select(item => item.ListPrice).ToArray(),
            currencies = items.Select(item => item.Currency).ToArray(),
            stocks = items.Select(item => item.Stock).ToArray(),
            limits = items.Select(item => item.PerUserLimit).ToArray(),
        }, transaction);
}
