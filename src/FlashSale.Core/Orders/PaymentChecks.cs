using Dapper;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>A payment that the provider is to be asked about.</summary>
/// <param name="PaymentId">The provider's.</param>
/// <param name="OrderId">Its order.</param>
/// <param name="Asks">How often the provider has been asked, this time included.</param>
/// <param name="PayBy">When the order had to be paid.</param>
public sealed record PaymentToCheck(string PaymentId, Guid OrderId, int Asks, DateTime PayBy)
{
    /// <summary>How long ago the order had to be paid.</summary>
    public TimeSpan Since(DateTimeOffset now) => now - new DateTimeOffset(PayBy);
}

/// <summary>
/// The payments of which the provider has told nothing final. When its order is due each is asked for, and for a while after:
/// a notice may be lost, and the money with it. Several workers may take at once.
/// </summary>
public sealed class PaymentChecks(NpgsqlDataSource postgres)
{
    private const int MaxErrorLength = 500;

    /// <summary>Takes payments whose time has come, and keeps others from them for the length of a lease.</summary>
    /// <param name="first">Whether only those that were never asked for, whose orders wait; else only the others.</param>
    /// <param name="grace">How long after payBy the first question comes.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="lease">Longer than asking the provider takes. Whoever dies meanwhile leaves them to others after it.</param>
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

    /// <summary>The provider says that nothing was paid.</summary>
    /// <param name="paymentId">Which.</param>
    /// <param name="wait">After how long to ask again; null when that was its last word.</param>
    /// <param name="error">What was odd about the answer.</param>
    /// <param name="cancellation">Ends the query.</param>
    public Task NotPaidAsync(string paymentId, TimeSpan? wait, string? error, CancellationToken cancellation) => ExecuteAsync("""
        update payment set answered_at = now(), ask_at = now() + @wait::interval, ask_error = @error, updated_at = now(),
            state = case when @wait::interval is null and state = 'created' then 'failed' else state end
        where payment_id = @paymentId and state in ('created', 'failed')
        """, new { paymentId, wait, error = Shortened(error) }, cancellation);

    /// <summary>No more is to be asked: what the provider said is recorded elsewhere.</summary>
    public Task EndAsync(string paymentId, string? error, CancellationToken cancellation) => ExecuteAsync(
        "update payment set answered_at = now(), ask_at = null, ask_error = @error, updated_at = now() where payment_id = @paymentId",
        new { paymentId, error = Shortened(error) }, cancellation);

    /// <summary>There was no answer to rely on: to be asked again.</summary>
    public Task PostponeAsync(string paymentId, TimeSpan wait, string error, CancellationToken cancellation) => ExecuteAsync(
        "update payment set ask_at = now() + @wait, ask_error = @error where payment_id = @paymentId and ask_at is not null",
        new { paymentId, wait, error = Shortened(error) }, cancellation);

    /// <summary>How many payments are due of which the provider has said nothing, and how many notices nothing could follow from.</summary>
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
