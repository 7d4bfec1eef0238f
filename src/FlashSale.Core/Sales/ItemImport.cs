using Dapper;
using Npgsql;
using NpgsqlTypes;

namespace FlashSale.Sales;

/// <summary>A line of an import that repeats the sku of an earlier line.</summary>
/// <param name="Line">The later line.</param>
/// <param name="FirstLine">The first line with that sku.</param>
/// <param name="Total">The number of such lines in the whole import.</param>
public sealed record RepeatedSku(int Line, int FirstLine, long Total);

/// <summary>
/// Imports many items into a draft, all or nothing, at constant memory. Lines are copied into a temporary table as they
/// arrive, and two statements at the end copy them into the sale. The sale is locked only during those. An item that
/// has the sku of an existing one replaces it and keeps its number. New items follow in the order of their lines.
/// </summary>
public sealed class ItemImport : IAsyncDisposable
{
    // The file has arrived completely before the copy begins. A large one may still take long on a busy disk.
    private const string Longer = "set local statement_timeout = '5min'";

    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlTransaction _transaction;
    private NpgsqlBinaryImporter? _copy;

    private ItemImport(NpgsqlConnection connection, NpgsqlTransaction transaction)
    {
        _connection = connection;
        _transaction = transaction;
    }

    /// <summary>
    /// Opens a transaction and its temporary table. Nothing changes in the sale before <see cref="TakeOverAsync"/>.
    /// </summary>
    public static async Task<ItemImport> BeginAsync(NpgsqlDataSource postgres, CancellationToken cancellation)
    {
        var connection = await postgres.OpenConnectionAsync(cancellation);
        var import = new ItemImport(connection, await connection.BeginTransactionAsync(cancellation));
        try
        {
            await connection.ExecuteAsync($"""
                {Longer};
                create temporary table item_line (line int not null, sku text not null, name text not null, price bigint not null,
                    list_price bigint, currency text not null, stock int not null, per_user_limit int not null) on commit drop
                """);
            import._copy = await connection.BeginBinaryImportAsync("copy item_line from stdin (format binary)", cancellation);
            return import;
        }
        catch
        {
            await import.DisposeAsync();
            throw;
        }
    }

    /// <summary>Copies the item of a line into the temporary table.</summary>
    public async ValueTask AddAsync(int line, ItemDraft item, CancellationToken cancellation)
    {
        var copy = _copy!;
        await copy.StartRowAsync(cancellation);
        await copy.WriteAsync(line, NpgsqlDbType.Integer, cancellation);
        await copy.WriteAsync(item.Sku, NpgsqlDbType.Text, cancellation);
        await copy.WriteAsync(item.Name, NpgsqlDbType.Text, cancellation);
        await copy.WriteAsync(item.Price, NpgsqlDbType.Bigint, cancellation);
        if (item.ListPrice is { } listPrice) await copy.WriteAsync(listPrice, NpgsqlDbType.Bigint, cancellation);
        else await copy.WriteNullAsync(cancellation);
        await copy.WriteAsync(item.Currency, NpgsqlDbType.Text, cancellation);
        await copy.WriteAsync(item.Stock, NpgsqlDbType.Integer, cancellation);
        await copy.WriteAsync(item.PerUserLimit, NpgsqlDbType.Integer, cancellation);
    }

    /// <summary>
    /// Ends the copy and returns up to <paramref name="limit"/> lines that repeat the sku of an earlier line, in their
    /// order.
    /// </summary>
    public async Task<IReadOnlyList<RepeatedSku>> EndAsync(int limit, CancellationToken cancellation)
    {
        await _copy!.CompleteAsync(cancellation);
        await _copy.DisposeAsync();
        _copy = null;
        var repeated = await _connection.QueryAsync<RepeatedSku>("""
            select line, first_line, count(*) over () as total
            from (select line, min(line) over (partition by sku) as first_line from item_line) l
            where line > first_line order by line limit @limit
            """, new { limit }, _transaction);
        return repeated.AsList();
    }

    /// <summary>
    /// Copies the lines into the sale and commits, if the sale has one of <paramref name="ifVersions"/>. Null allows
    /// any version.
    /// </summary>
    /// <returns>
    /// The result, and the number of items: of the imported ones when done, and of all that the sale would have with
    /// <see cref="DraftResult.TooManyItems"/>.
    /// </returns>
    public async Task<(DraftResult Result, int Imported)> TakeOverAsync(string saleId, IReadOnlyList<long>? ifVersions, Actor actor, CancellationToken cancellation)
    {
        if (!await SaleLock.ShareAsync(_transaction, saleId)) return (DraftResult.SaleNotFound, 0);
        if (await SaleStore.TouchDraftAsync(_transaction, saleId, ifVersions) is var touched and not DraftResult.Done) return (touched, 0);
        var before = await SaleStore.SnapshotAsync(_transaction, saleId);
        await _connection.ExecuteAsync("analyze item_line", transaction: _transaction);
        var replaced = await _connection.ExecuteAsync("""
            update sale_item t set name = l.name, price = l.price, list_price = l.list_price, currency = l.currency,
                   stock = l.stock, per_user_limit = l.per_user_limit
            from item_line l where t.sale_id = @saleId and t.sku = l.sku
            """, new { saleId }, _transaction);
        var added = await _connection.ExecuteAsync("""
            insert into sale_item (sale_id, sku, item_no, name, price, list_price, currency, stock, per_user_limit)
            select @saleId, l.sku, m.item_no + row_number() over (order by l.line), l.name, l.price, l.list_price, l.currency, l.stock, l.per_user_limit
            from item_line l, (select coalesce(max(item_no), 0) as item_no from sale_item where sale_id = @saleId) m
            where not exists (select 1 from sale_item t where t.sale_id = @saleId and t.sku = l.sku)
            """, new { saleId }, _transaction);
        var items = await _connection.ExecuteScalarAsync<int>("select count(*)::int from sale_item where sale_id = @saleId", new { saleId }, _transaction);
        if (items > SaleBounds.MaxItems) return (DraftResult.TooManyItems, items);
        await AuditLog.WriteAsync(_transaction, actor, "sale.import_items", saleId, before, await SaleStore.SnapshotAsync(_transaction, saleId));
        await _transaction.CommitAsync(cancellation);
        return (DraftResult.Done, replaced + added);
    }

    /// <summary>Ends the import. Without a successful <see cref="TakeOverAsync"/> it rolls everything back.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_copy is not null) await _copy.DisposeAsync();
        await _transaction.DisposeAsync();
        await _connection.DisposeAsync();
    }
}
