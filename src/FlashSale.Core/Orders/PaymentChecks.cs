using Dapper;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>A payment that a worker is to ask the provider about.</summary>
/// <param name="PaymentId">The provider's id of the payment.</param>
/// <param name="OrderId">Id of the order.</param>
/// <param name="Asks">The number of times the provider was asked, this time included.</param>
/// <param name="PayBy">
/// The order's payBy, UTC. Where the order has none, the time at which the payment was recorded.
/// </param>
public sealed record PaymentToCheck(string PaymentId, Guid OrderId, int Asks, DateTime PayBy)
{
    /// <summary>The time from <see cref="PayBy"/> to <paramref name="now"/>.</summary>
    public TimeSpan Since(DateTimeOffset now) => now - new DateTimeOffset(PayBy);
}

/// <summary>
/// The payments of which the provider has told nothing final. A worker asks about each when its order is due and for a
/// while after, because a notice may get lost and the money with it. Several workers may take payments at once.
/// </summary>
public sealed class PaymentChecks(NpgsqlDataSource postgres)
{
    private const int MaxErrorLength = 500;

    /// <summary>
    /// Takes payments that are due for a question. Other workers do not get them for the length of the lease.
    /// </summary>
    /// <param name="first">
    /// True takes only payments that were never asked about, since their orders wait for the answer. False takes only
    /// the others.
    /// </param>
    /// <param name="grace">The time between payBy and the first question.</param>
    /// <param name="limit">The highest number of payments to take. At 0 or below, the method asks for nothing.</param>
    /// <param name="lease">
    /// Must be longer than asking the provider takes. If the worker dies meanwhile, others can take its payments after
    /// the lease.
    /// </param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<PaymentToCheck>> TakeAsync(bool first, TimeSpan grace, int limit, TimeSpan lease, CancellationToken cancellation)
    {
        if (limit <= 0) return [];
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<PaymentToCheck>(new CommandDefinition($"""
            update payment p set ask_at = now() + @lease, asks = p.asks + 1
            from (select payment_id from payment where ask_at <= now() - @wait and asks {(first ? "= 0" : "> 0")}
                  order by ask_at limit @limit for update skip locked) d
            where p.payment_id = d.payment_id
            returning p.payment_id, p.order_id, p.asks,
                      coalesce((select o.pay_by from orders o where o.order_id = p.order_id), p.created_at) as pay_by
            """, new { limit, lease, wait = first ? grace : TimeSpan.Zero }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Records the provider's answer that the payment has not succeeded.</summary>
    /// <param name="paymentId">The provider's id of the payment.</param>
    /// <param name="wait">
    /// The time until the next question. Null when no further question follows: an open payment then counts as failed.
    /// </param>
    /// <param name="error">A remark about an odd answer, cut to 500 characters. Null for a normal one.</param>
    /// <param name="cancellation">Ends the query.</param>
    public Task NotPaidAsync(string paymentId, TimeSpan? wait, string? error, CancellationToken cancellation) => ExecuteAsync("""
        update payment set answered_at = now(), ask_at = now() + @wait::interval, ask_error = @error, updated_at = now(),
            state = case when @wait::interval is null and state = 'created' then 'failed' else state end
        where payment_id = @paymentId and state in ('created', 'failed')
        """, new { paymentId, wait, error = Shortened(error) }, cancellation);

    /// <summary>Ends the questions about a payment. The caller has recorded the provider's answer elsewhere.</summary>
    public Task EndAsync(string paymentId, string? error, CancellationToken cancellation) => ExecuteAsync(
        "update payment set answered_at = now(), ask_at = null, ask_error = @error, updated_at = now() where payment_id = @paymentId",
        new { paymentId, error = Shortened(error) }, cancellation);

    /// <summary>Records that the provider gave no reliable answer, and sets the time of the next question.</summary>
    public Task PostponeAsync(string paymentId, TimeSpan wait, string error, CancellationToken cancellation) => ExecuteAsync(
        "update payment set ask_at = now() + @wait, ask_error = @error where payment_id = @paymentId and ask_at is not null",
        new { paymentId, wait, error = Shortened(error) }, cancellation);

    /// <summary>
    /// Counts the due payments of which the provider has said nothing, and the notices that were kept for operators
    /// because nothing could follow from them.
    /// </summary>
    public async Task<(long Unanswered, long Unmatched)> CountAsync(TimeSpan grace, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleAsync<(long, long)>(new CommandDefinition("""
            select (select count(*) from payment where ask_at is not null and asks = 0 and ask_at <= now() - @grace)
                 + (select count(*) from payment where ask_at is not null and asks > 0 and answered_at is null),
                   (select count(*) from webhook_receipt where outcome in ('partial_refund', 'unknown_order', 'amount_mismatch'))
            """, new { grace }, cancellationToken: cancellation));
    }

    private static string? Shortened(string? error) => error is { Length: > MaxErrorLength } ? error[..MaxErrorLength] : error;

    private async Task ExecuteAsync(string sql, object parameters, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition(sql, parameters, cancellationToken: cancellation));
    }
}
