using Dapper;
using FlashSale.Platform;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>The page on which a shopper can pay for an order, and the end of the time to pay.</summary>
public sealed record PaymentStart(string PaymentUrl, DateTimeOffset PayBy);

/// <summary>
/// Starts payments. Asks the provider for one payment per order, and stores the address at which the shopper pays.
/// </summary>
public sealed class Payments(NpgsqlDataSource postgres, [FromKeyedServices(Dependency.Postgres)] Dependency guard, PaymentProvider provider)
{
    /// <summary>Starts the payment of a stored order, or returns the payment that is open already.</summary>
    /// <returns>Null when the order does not wait for a payment, or its time to pay is over.</returns>
    /// <exception cref="PaymentProviderException">
    /// The provider refused or gave no reliable answer. Ask again.
    /// </exception>
    public async Task<PaymentStart?> StartAsync(Guid orderId, CancellationToken cancellation)
    {
        var found = await guard.RepeatableAsync(static async (call, token) => await call.Payments.FindAsync(call.orderId, token), (Payments: this, orderId), cancellation);
        if (found is not { } order) return null;
        var payBy = new DateTimeOffset(order.PayBy);
        if (order.PaymentUrl is { } open) return new(open, payBy);
        // No transaction is open while the provider works. Two requests at once get the same payment, since the order
        // is the key.
        CreatedPayment payment;
        try
        {
            payment = await provider.CreateAsync(orderId, order.Amount, order.Currency, payBy, order.Refusals, cancellation);
        }
        catch (PaymentProviderException e) when (e.RefusedWith > 0)
        {
            await guard.OnceAsync(static async (call, token) => await call.Payments.CountRefusalAsync(call.orderId, call.order.Refusals, token), (Payments: this, orderId, order), CancellationToken.None);
            throw;
        }
        var url = await guard.OnceAsync(static async (call, token) => await call.Payments.KeepAsync(call.orderId, call.order, call.payment, token), (Payments: this, orderId, order, payment), cancellation);
        return new(url, payBy);
    }

    // No payment starts after pay_by. A payment that is under way then has the grace before expiry to come in.
    private async Task<PayableRow?> FindAsync(Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<PayableRow>(new CommandDefinition("""
            select o.amount, o.currency, o.pay_by, coalesce((select f.refusals from payment_refusal f where f.order_id = o.order_id), 0) as refusals,
                   (select p.payment_url from payment p
                    where p.order_id = o.order_id and p.state = 'created' and p.payment_url is not null order by p.created_at limit 1) as payment_url
            from orders o
            where o.order_id = @orderId and o.status = 'pending_payment' and now() < o.pay_by
            """, new { orderId }, cancellationToken: cancellation));
    }

    // Two requests at once may be refused under the same key. They count as one refusal.
    private async Task<int> CountRefusalAsync(Guid orderId, int before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteAsync(new CommandDefinition("""
            insert into payment_refusal as f (order_id, refusals) values (@orderId, @before + 1)
            on conflict (order_id) do update set refusals = greatest(f.refusals, excluded.refusals)
            """, new { orderId, before }, cancellationToken: cancellation));
    }

    // The webhook may have been faster. Then only the address is added, and the state stays as the provider reported
    // it.
    private async Task<string> KeepAsync(Guid orderId, PayableRow order, CreatedPayment payment, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<string?>(new CommandDefinition("""
            insert into payment as p (payment_id, order_id, amount, currency, state, payment_url, ask_at)
            values (@PaymentId, @orderId, @Amount, @Currency, 'created', @PaymentUrl, @PayBy)
            on conflict (payment_id) do update set payment_url = excluded.payment_url, updated_at = now() where p.order_id = excluded.order_id
            returning payment_url
            """, new { payment.PaymentId, orderId, order.Amount, order.Currency, payment.PaymentUrl, order.PayBy }, cancellationToken: cancellation))
            ?? throw new PaymentProviderException($"The provider answered with payment {payment.PaymentId}, which is of another order.", isTransient: false);
    }

    private sealed record PayableRow(long Amount, string Currency, DateTime PayBy, int Refusals, string? PaymentUrl);
}
