using Dapper;
using FlashSale.Admin.Http;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admin.Orders;

/// <summary>
/// GET /api/v1/sales/{saleId}/orders.csv: exports all stored orders of a sale as they are at one moment, in the order
/// of their ids. Postgres writes the CSV into a temporary file, and the client gets it from there. So a million orders
/// take no more memory than one, and a slow client holds no connection.
/// </summary>
public static partial class OrderExport
{
    // The copy may take as long as the disk needs.
    private const string Longer = "set local statement_timeout = '1h'";
    private const string Time = "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'";

    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    private static string Sql(string saleId) => $"""
        copy (select order_id as "orderId", sale_id as "saleId", {Text("sku")} as sku, {Text("user_id")} as "userId", quantity, amount, currency, status,
                     {Text("reason")} as reason,
                     to_char(accepted_at at time zone 'UTC', {Time}) as "acceptedAt", to_char(placed_at at time zone 'UTC', {Time}) as "placedAt",
                     to_char(pay_by at time zone 'UTC', {Time}) as "payBy", to_char(paid_at at time zone 'UTC', {Time}) as "paidAt",
                     to_char(closed_at at time zone 'UTC', {Time}) as "closedAt"
              from orders where sale_id = '{saleId}' order by order_id)
        to stdout (format csv, header)
        """;

    // A spreadsheet would take a text with such a beginning for a formula, and other people write user ids and reasons.
    private static string Text(string column) => $"case when {column} ~ '^[-=+@\t\r]' then '''' || {column} else {column} end";

    /// <summary>Answers with the CSV file, or with 404 when there is no such sale.</summary>
    public static async Task<IResult> ExportAsync(HttpContext context, string saleId, SaleReader sales, Transfers transfers, ILoggerFactory loggers)
    {
        // COPY takes no parameters. So only the id of a known sale becomes part of the statement, and only if it
        // consists of letters, digits and . _ - alone.
        if (await sales.ReadAsync(saleId, context.RequestAborted) is not { } sale || !SaleBounds.IsSaleId(sale.SaleId)) return AdminProblems.SaleNotFound;
        if (HeadRequests.IsHead(context))
        {
            Begin(context.Response, sale.SaleId);
            return Results.Empty;
        }
        try
        {
            return await transfers.SendAsync(context, (spool, cancellation) => CopyAsync(transfers.Postgres, sale.SaleId, spool, cancellation),
                response => Begin(response, sale.SaleId));
        }
        catch (Exception e) when (context.Response.HasStarted)
        {
            if (!context.RequestAborted.IsCancellationRequested) LogCutOff(loggers.CreateLogger(typeof(OrderExport)), saleId, e);
            // A file that was cut off must not look whole.
            context.Abort();
            return Results.Empty;
        }
    }

    private static void Begin(HttpResponse response, string saleId)
    {
        response.ContentType = "text/csv; charset=utf-8";
        response.Headers.ContentDisposition = $"attachment; filename=\"orders-{saleId}.csv\"";
    }

    private static async Task CopyAsync(NpgsqlDataSource postgres, string saleId, Spool spool, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await connection.ExecuteAsync(Longer);
        // The bytes are passed on as they come. Decoding and encoding them would cost more than all else here.
        using var copy = (StreamReader)await connection.BeginTextExportAsync(Sql(saleId), cancellation);
        // Without the mark spreadsheets take UTF-8 for the code page of their country. The mark is written after the
        // query has begun, so that a failure of the query is still a 503.
        using var mark = new MemoryStream(ByteOrderMark);
        await spool.WriteAsync(mark, cancellation);
        await spool.WriteAsync(copy.BaseStream, cancellation);
    }

    [LoggerMessage(1, LogLevel.Error, "The export of the orders of {SaleId} was cut off")]
    private static partial void LogCutOff(ILogger logger, string saleId, Exception e);
}
