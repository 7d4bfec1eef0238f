using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Orders;

/// <summary>
/// Records the provider's notices. Each notice is one transaction with its receipt: it is recorded with all its
/// consequences or not at all, and a repeat finds the receipt. Notices come in any order, so no notice relies on
/// another.
/// </summary>
/// <param name="postgres">Stores the notices.</param>
/// <param name="redis">Announces changed orders to event streams.</param>
/// <param name="refundsReturnUnits">
/// Whether the units of an order go back on sale when the provider refunds it unasked.
/// </param>
public sealed class PaymentNotices(NpgsqlDataSource postgres, RedisConnection redis, bool refundsReturnUnits)
{
    // An order that is still unknown this long after the notice's own time will not appear any more. Then the notice is
    // kept, and the provider need not send it again.
    private static readonly TimeSpan UnknownFor = TimeSpan.FromHours(1);

    private static readonly Actor Provider = new("provider", "system");

    /// <summary>Records a notice and everything that follows from it.</summary>
    /// <param name="notice">The notice.</param>
    /// <param name="cancellation">Ends the transaction. The outcome is unknown then.</param>
    public async Task<PaymentNoticeOutcome> RecordAsync(PaymentNotice notice, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // Insert the receipt first. Of two deliveries at once, the later one then waits for the earlier one and finds
        // its row.
        var isNew = await connection.ExecuteAsync("""
            insert into webhook_receipt (webhook_id, type, order_id, payment_id, amount, currency, outcome)
            values (@WebhookId, @TypeText, @OrderId, @PaymentId, @Amount, @Currency, 'ignored')
            on conflict do nothing
            """, new { notice.WebhookId, notice.TypeText, notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency }, transaction);
        if (isNew == 0) return PaymentNoticeOutcome.Repeated;
        if (notice.Type is PaymentNoticeType.Other)
        {
            await transaction.CommitAsync(cancellation);
            return PaymentNoticeOutcome.Done;
        }
        if (!await ShareSaleAsync(connection, transaction, notice)) return PaymentNoticeOutcome.Busy;
        var order = await connection.QuerySingleOrDefaultAsync<OrderRow>(
            "select sale_id, amount, currency, status from orders where order_id = @OrderId for update", new { notice.OrderId }, transaction);
        if (order is null)
        {
            return notice.At is { } at && await connection.ExecuteScalarAsync<bool>("select now() - @at > @UnknownFor", new { at, UnknownFor }, transaction)
                ? await KeepAsync(transaction, notice, "unknown_order", PaymentNoticeOutcome.Unmatched, cancellation)
                : PaymentNoticeOutcome.UnknownOrder;
        }
        if (!await BelongsAsync(connection, transaction, notice)) return PaymentNoticeOutcome.PaymentOfOtherOrder;
        // An order is paid and refunded only as a whole. But a refund in part has moved money, so operators must see
        // the notice.
        if (notice.Type is PaymentNoticeType.Refunded && notice.Currency == order.Currency && notice.Amount > 0 && notice.Amount < order.Amount)
            return await KeepAsync(transaction, notice, "partial_refund", PaymentNoticeOutcome.Unmatched, cancellation);
        if (order.Amount != notice.Amount || order.Currency != notice.Currency) return PaymentNoticeOutcome.AmountMismatch;

        var outcome = await ApplyAsync(connection, transaction, notice, order);
        // Check again: another transaction may have recorded this payment meanwhile for another order.
        if (!await BelongsAsync(connection, transaction, notice)) return PaymentNoticeOutcome.PaymentOfOtherOrder;
        await KeepAsync(transaction, notice, outcome, PaymentNoticeOutcome.Done, cancellation);
        if (outcome is "paid" or "order_refunded") _ = AnnounceAsync(order.SaleId, notice.OrderId);
        return PaymentNoticeOutcome.Done;
    }

    /// <summary>
    /// Keeps a success with another amount than the order's. A worker had to ask the provider for it, so the provider
    /// will not send it again by itself.
    /// </summary>
    public async Task KeepMismatchAsync(PaymentNotice notice, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition("""
            insert into webhook_receipt (webhook_id, type, order_id, payment_id, amount, currency, outcome)
            values (@WebhookId, @TypeText, @OrderId, @PaymentId, @Amount, @Currency, 'amount_mismatch')
            on conflict do nothing
            """, new { notice.WebhookId, notice.TypeText, notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency }, cancellationToken: cancellation));
    }

    private static async Task<PaymentNoticeOutcome> KeepAsync(
        NpgsqlTransaction transaction, PaymentNotice notice, string kept, PaymentNoticeOutcome outcome, CancellationToken cancellation)
    {
        await transaction.Connection!.ExecuteAsync(
            "update webhook_receipt set outcome = @kept where webhook_id = @WebhookId", new { kept, notice.WebhookId }, transaction);
        await transaction.CommitAsync(cancellation);
        return outcome;
    }

    // Share the lock of the order's sale before any row lock, because an unasked refund gives units back. A load of the
    // sale takes seconds. A notice that waited for it would keep a connection from everyone else.
    private static async Task<bool> ShareSaleAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice)
    {
        if (notice.Type is not PaymentNoticeType.Refunded || !OrderId.TryGetSaleNumber(notice.OrderId, out var number)) return true;
        try
        {
            await connection.ExecuteAsync("select share_sale_lock(@number)", new { number }, transaction);
            return true;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable)
        {
            return false;
        }
    }

    private static async Task<bool> BelongsAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice) =>
        await connection.QuerySingleOrDefaultAsync<Guid?>("select order_id from payment where payment_id = @PaymentId", new { notice.PaymentId }, transaction) is not { } orderId
        || orderId == notice.OrderId;

    private Task<string> ApplyAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice, OrderRow order) => notice.Type switch
    {
        PaymentNoticeType.Succeeded => SucceededAsync(connection, transaction, notice),
        PaymentNoticeType.Failed => FailedAsync(connection, transaction, notice),
        PaymentNoticeType.Refunded => RefundedAsync(connection, transaction, notice, order),
        PaymentNoticeType.Other => Task.FromResult("ignored"),
    };

    private static async Task<string> SucceededAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice) =>
        (await connection.ExecuteScalarAsync<string>(
            "select pay_order(@OrderId, @PaymentId, @Amount, @Currency)", new { notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency }, transaction))!;

    // A failure that comes after the success is out of date: the shopper has tried again. After a failure the shopper
    // may still try once more, so the provider is asked about the payment all the same.
    private static async Task<string> FailedAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice)
    {
        var rows = await connection.ExecuteAsync("""
            insert into payment as p (payment_id, order_id, amount, currency, state, ask_at)
            select @PaymentId, @OrderId, @Amount, @Currency, 'failed', o.pay_by from orders o where o.order_id = @OrderId
            on conflict (payment_id) do update set state = 'failed', updated_at = now() where p.state not in ('succeeded', 'surplus')
            """, new { notice.PaymentId, notice.OrderId, notice.Amount, notice.Currency }, transaction);
        return rows == 1 ? "failed" : "outdated";
    }

    // Usually this notice answers a refund that was asked for. A refund that nobody asked for (the provider's own
    // decision, or told before the success) is accepted too: the payment no longer pays for anything, and the order
    // that it had paid is refunded.
    private async Task<string> RefundedAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice, OrderRow order)
    {
        var state = await connection.QuerySingleOrDefaultAsync<string>(
            "select state from payment where payment_id = @PaymentId for update", new { notice.PaymentId }, transaction);
        var orderRefunded = state == "succeeded" && order.Status == "paid"
            && await OrderMoves.RefundAsync(transaction, notice.OrderId, order.SaleId, "refunded_by_provider", refundsReturnUnits, Provider);
        if (state is not ("succeeded" or "surplus"))
        {
            await connection.ExecuteAsync("""
                insert into payment (payment_id, order_id, amount, currency, state) values (@PaymentId, @OrderId, @Amount, @Currency, 'surplus')
                on conflict (payment_id) do update set state = 'surplus', ask_at = null, ask_error = null, updated_at = now()
                """, new { notice.PaymentId, notice.OrderId, notice.Amount, notice.Currency }, transaction);
        }
        await connection.ExecuteAsync("""
            insert into refund as r (payment_id, order_id, reason, state, confirmed_at) values (@PaymentId, @OrderId, 'refunded_by_provider', 'confirmed', now())
            on conflict (payment_id) do update set state = 'confirmed', confirmed_at = now(), last_error = null where r.state <> 'confirmed'
            """, new { notice.PaymentId, notice.OrderId }, transaction);
        return orderRefunded ? "order_refunded" : "refund_confirmed";
    }

    private async Task AnnounceAsync(string saleId, Guid orderId)
    {
        var announcement = new byte[17];
        orderId.TryWriteBytes(announcement, bigEndian: true, out _);
        announcement[16] = (byte)Verdict.Live;
        try
        {
            await redis.CallAsync(database => database.PublishAsync(RedisChannel.Literal(new SaleKeys(saleId).SettledChannel), announcement));
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // Event streams poll by themselves every few seconds, so a lost announcement only delays them.
        }
    }

    private sealed record OrderRow(string SaleId, long Amount, string Currency, string Status);
}
