using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Orders;

/// <summary>
/// Takes what the provider tells, each notice in one transaction with its receipt: a notice is either recorded with all
/// its consequences or not at all, and its repeat finds the receipt. They come in any order, so none relies on another.
/// </summary>
/// <param name="postgres">Where they are kept.</param>
/// <param name="redis">Told of orders that change.</param>
/// <param name="refundsReturnUnits">Whether units of an order that the provider refunds unasked go back on sale.</param>
public sealed class PaymentNotices(NpgsqlDataSource postgres, RedisConnection redis, bool refundsReturnUnits)
{
    // So long after a notice's own time an order that is not known will not come up any more, and the provider need not come again.
    private static readonly TimeSpan UnknownFor = TimeSpan.FromHours(1);

    private static readonly Actor Provider = new("provider", "system");

    /// <summary>Records a notice.</summary>
    /// <param name="notice">As it was read.</param>
    /// <param name="cancellation">Ends the transaction; the outcome is unknown then.</param>
    public async Task<PaymentNoticeOutcome> RecordAsync(PaymentNotice notice, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // First, so that of two deliveries at once the later waits for the earlier, and then finds this row.
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
        // An order is paid and refunded as a whole. What the provider gives back of it is money that has gone all the same.
        if (notice.Type is PaymentNoticeType.Refunded && notice.Currency == order.Currency && notice.Amount > 0 && notice.Amount < order.Amount)
            return await KeepAsync(transaction, notice, "partial_refund", PaymentNoticeOutcome.Unmatched, cancellation);
        if (order.Amount != notice.Amount || order.Currency != notice.Currency) return PaymentNoticeOutcome.AmountMismatch;

        var outcome = await ApplyAsync(connection, transaction, notice, order);
        // Again: another transaction may have brought the payment in meanwhile, for another order.
        if (!await BelongsAsync(connection, transaction, notice)) return PaymentNoticeOutcome.PaymentOfOtherOrder;
        await KeepAsync(transaction, notice, outcome, PaymentNoticeOutcome.Done, cancellation);
        if (outcome is "paid" or "order_refunded") _ = AnnounceAsync(order.SaleId, notice.OrderId);
        return PaymentNoticeOutcome.Done;
    }

    /// <summary>Keeps a success of another amount than the order's, which the provider had to be asked for: it will not come again by itself.</summary>
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

    // Of the order's sale, before any row lock: an unasked refund gives units back. A load of the sale takes seconds, and a
    // notice that waited so long would keep a connection from everyone else.
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

    // A failure that comes after the success is old news: the shopper has tried again. After a failure the shopper may try
    // once more, so the provider is asked all the same.
    private static async Task<string> FailedAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice)
    {
        var rows = await connection.ExecuteAsync("""
            insert into payment as p (payment_id, order_id, amount, currency, state, ask_at)
            select @PaymentId, @OrderId, @Amount, @Currency, 'failed', o.pay_by from orders o where o.order_id = @OrderId
            on conflict (payment_id) do update set state = 'failed', updated_at = now() where p.state not in ('succeeded', 'surplus')
            """, new { notice.PaymentId, notice.OrderId, notice.Amount, notice.Currency }, transaction);
        return rows == 1 ? "failed" : "outdated";
    }

    // Mostly the answer to a refund that was asked for. One that was not (the provider's own, or told before the success) is
    // taken as it is: that payment pays nothing any more, and the order that it had paid is given back.
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
            // Streams poll by themselves every few seconds, so a lost announcement only delays them.
        }
    }

    private sealed record OrderRow(string SaleId, long Amount, string Currency, string Status);
}
