using Dapper;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>A payment that is to be given back.</summary>
/// <param name="PaymentId">The provider's.</param>
/// <param name="OrderId">Its order.</param>
/// <param name="Reason">Why.</param>
/// <param name="Attempts">How often the provider has been asked, this time included.</param>
/// <param name="Refusals">How often it has refused.</param>
public sealed record DueRefund(string PaymentId, Guid OrderId, string Reason, int Attempts, int Refusals);

/// <summary>The refunds that are due. They stay so until the provider confirms them; several workers may take at once.</summary>
public sealed class Refunds(NpgsqlDataSource postgres)
{
    private const int MaxErrorLength = 500;

    /// <summary>Takes refunds whose time has come, oldest first, and keeps others from them for the length of a lease.</summary>
    /// <param name="limit">How many at most.</param>
    /// <param name="lease">Longer than asking the provider takes. Whoever dies meanwhile leaves them to others after it.</param>
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

    /// <summary>The provider has given it back.</summary>
    public Task ConfirmAsync(string paymentId, CancellationToken cancellation) => ExecuteAsync(
        "update refund set state = 'confirmed', confirmed_at = now(), last_error = null where payment_id = @paymentId and state = 'due'", new { paymentId }, cancellation);

    /// <summary>Not given back yet: to be asked again.</summary>
    /// <param name="paymentId">Which.</param>
    /// <param name="wait">How long to leave the provider alone.</param>
    /// <param name="error">What went wrong; null when the provider is at it.</param>
    /// <param name="refused">Whether the provider refused it: it is asked under another key next.</param>
    /// <param name="cancellation">Ends the query.</param>
    public Task PostponeAsync(string paymentId, TimeSpan wait, string? error, bool refused, CancellationToken cancellation) => ExecuteAsync("""
        update refund set next_at = now() + @wait, last_error = @error, refusals = refusals + @refused::int
        where payment_id = @paymentId and state = 'due'
        """, new { paymentId, wait, refused, error = error is { Length: > MaxErrorLength } ? error[..MaxErrorLength] : error }, cancellation);

    /// <summary>How many are due, whenever they are asked for next.</summary>
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
