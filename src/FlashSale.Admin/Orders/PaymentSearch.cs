using Dapper;
using Npgsql;

namespace FlashSale.Admin.Orders;

/// <summary>A payment that an operator may have to look at, as Postgres has it.</summary>
/// <param name="No">The number that pages of the list are cut by. It rises with time.</param>
/// <param name="PaymentId">The provider's id of the payment.</param>
/// <param name="OrderId">The order that the payment is said to be for.</param>
/// <param name="SaleId">The sale of the order. Null where there is no such order.</param>
/// <param name="OrderStatus">The status of the order. Null where there is no such order.</param>
/// <param name="Amount">The amount in minor units.</param>
/// <param name="Currency">The currency code of ISO 4217.</param>
/// <param name="Reason">Why nothing follows from the notice. Null for a created payment.</param>
/// <param name="At">When the payment was created, or the notice came.</param>
/// <param name="PayBy">Until when the order was to be paid.</param>
/// <param name="Asks">How often the provider was asked about the payment.</param>
/// <param name="AnsweredAt">When the provider last answered.</param>
/// <param name="LastError">Why there was no answer to rely on.</param>
public sealed record PaymentRow(
    long No, string PaymentId, Guid OrderId, string? SaleId, string? OrderStatus, long Amount, string Currency, string? Reason,
    DateTime At, DateTime? PayBy, int Asks, DateTime? AnsweredAt, string? LastError);

/// <summary>
/// Finds payments without an outcome from the provider, and notices that nothing follows from, newest first.
/// </summary>
public sealed class PaymentSearch(NpgsqlDataSource postgres)
{
    private const string Created = """
        select p.payment_no as no, p.payment_id, p.order_id, o.sale_id, o.status as order_status, p.amount, p.currency, null as reason,
               p.created_at as at, o.pay_by, p.asks, p.answered_at, p.ask_error as last_error
        from payment p left join orders o using (order_id)
        where p.state = 'created' and (@before::bigint is null or p.payment_no < @before)
        order by p.payment_no desc limit @limit
        """;

    private const string Unmatched = """
        select w.receipt_no as no, w.payment_id, w.order_id, o.sale_id, o.status as order_status, w.amount, w.currency, w.outcome as reason,
               w.received_at as at, o.pay_by, 0 as asks, null::timestamptz as answered_at, null as last_error
        from webhook_receipt w left join orders o using (order_id)
        where w.outcome in ('partial_refund', 'unknown_order', 'amount_mismatch') and (@before::bigint is null or w.receipt_no < @before)
        order by w.receipt_no desc limit @limit
        """;

    /// <summary>Finds at most <paramref name="limit"/> of them.</summary>
    /// <param name="unmatched">True for notices that nothing follows from, false for created payments.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="before">Only those with a lower number. Null for all.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<PaymentRow>> FindAsync(bool unmatched, int limit, long? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<PaymentRow>(
            new CommandDefinition(unmatched ? Unmatched : Created, new { limit, before }, cancellationToken: cancellation))).AsList();
    }
}
