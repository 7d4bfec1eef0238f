using Dapper;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>A payment that the provider is to give back.</summary>
/// <param name="PaymentId">The provider's id of the payment.</param>
/// <param name="OrderId">Id of the order.</param>
/// <param name="Reason">The reason, passed on to the provider.</param>
/// <param name="Attempts">The number of times the provider was asked, this time included.</param>
/// <param name="Refusals">The number of times the provider has refused.</param>
public sealed record DueRefund(string PaymentId, Guid OrderId, string Reason, int Attempts, int Refusals);

/// <summary>
/// The refunds that are due. A refund stays due until the provider confirms it. Several workers may take refunds at
/// once.
/// </summary>
public sealed class Refunds(NpgsqlDataSource postgres)
{
    private const int MaxErrorLength = 500;

    /// <summary>
    /// Takes refunds that are due for a request, oldest first. Other workers do not get them for the length of the
    /// lease.
    /// </summary>
    /// <param name="limit">The highest number of refunds to take.</param>
    /// <param name="lease">
    /// Must be longer than asking the provider takes. If the worker dies meanwhile, others can take its refunds after
    /// the lease.
    /// </param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<DueRefund>> TakeAsync(int limit, TimeSpan lease, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<DueRefund>(new CommandDefinition("""
            update refund r set next_at = now() + @lease, attempts = r.attempts + 1
            from (select payment_id from refund where state = 'due' and next_at <= now() order by next_at limit @limit for update skip locked) d
            where r.payment_id = d.payment_id
            returning r.payment_id, r.order_id, r.reason, r.attempts, r.refusals
            """, new { limit, lease }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Records that the provider has given the money back.</summary>
    public Task ConfirmAsync(string paymentId, CancellationToken cancellation) => ExecuteAsync(
        "update refund set state = 'confirmed', confirmed_at = now(), last_error = null where payment_id = @paymentId and state = 'due'", new { paymentId }, cancellation);

    /// <summary>Records that the money is not given back yet, and sets the time of the next request.</summary>
    /// <param name="paymentId">The provider's id of the payment.</param>
    /// <param name="wait">The time for which the provider is left alone.</param>
    /// <param name="error">The failure, cut to 500 characters. Null when the provider is working on the refund.</param>
    /// <param name="refused">
    /// Whether the provider refused the request. The next request then carries another key.
    /// </param>
    /// <param name="cancellation">Ends the query.</param>
    public Task PostponeAsync(string paymentId, TimeSpan wait, string? error, bool refused, CancellationToken cancellation) => ExecuteAsync("""
        update refund set next_at = now() + @wait, last_error = @error, refusals = refusals + @refused::int
        where payment_id = @paymentId and state = 'due'
        """, new { paymentId, wait, refused, error = error is { Length: > MaxErrorLength } ? error[..MaxErrorLength] : error }, cancellation);

    /// <summary>
    /// Counts all refunds that the provider has not confirmed, including those that wait for their next request.
    /// </summary>
    public async Task<long> CountAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<long>(new CommandDefinition("select count(*) from refund where state = 'due'", cancellationToken: cancellation));
    }

    private async Task ExecuteAsync(string sql, object parameters, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition(sql, parameters, cancellationToken: cancellation));
    }
}
