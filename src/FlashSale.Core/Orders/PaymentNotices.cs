using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Orders;

/// <summary>What became of a notice.</summary>
public enum PaymentNoticeOutcome
{
    /// <summary>Recorded, with all that follows from it.</summary>
    Done,

    /// <summary>The same notice had been recorded before: nothing changed.</summary>
    Repeated,

    /// <summary>Postgres has no such order (it may be in flight): nothing kept, the provider comes again.</summary>
    UnknownOrder,

    /// <summary>Not the order's amount or currency: nothing kept.</summary>
    AmountMismatch,

    /// <summary>The payment belongs to another order: nothing kept.</summary>
    PaymentOfOtherOrder,
}

/// <summary>
/// Takes what the provider tells, each notice in one transaction with its receipt: a notice is either recorded with all
/// its consequences or not at all, and its repeat finds the receipt. They come in any order, so none relies on another.
/// </summary>
public sealed class PaymentNotices(NpgsqlDataSource postgres, [FromKeyedServices(Dependency.Postgres)] Dependency guard, RedisConnection redis)
{
    /// <summary>Records a notice.</summary>
    public async Task<PaymentNoticeOutcome> RecordAsync(PaymentNotice notice, CancellationToken cancellation) =>
        await guard.OnceAsync(static async (call, token) => await call.Notices.RecordOnceAsync(call.notice, token), (Notices: this, notice), cancellation);

    private async Task<PaymentNoticeOutcome> RecordOnceAsync(PaymentNotice notice, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // First, so that of two deliveries at once the later waits for the earlier, and then finds this row.
        var isNew = await connection.ExecuteAsync("""
            insert into webhook_receipt (webhook_id, type, order_id, payment_id, outcome) values (@WebhookId, @TypeText, @OrderId, @PaymentId, 'ignored')
            on conflict do nothing
            """, new { notice.WebhookId, notice.TypeText, notice.OrderId, notice.PaymentId }, transaction);
        if (isNew == 0) return PaymentNoticeOutcome.Repeated;
        if (notice.Type is PaymentNoticeType.Other)
        {
            await transaction.CommitAsync(cancellation);
            return PaymentNoticeOutcome.Done;
        }

        // Of this order's sale, before any row lock: an unasked refund gives units back.
        if (notice.Type is PaymentNoticeType.Refunded && OrderId.TryGetSaleNumber(notice.OrderId, out var number))
            await connection.ExecuteAsync("select pg_advisory_xact_lock_shared(1, @number)", new { number }, transaction);
        var order = await connection.QuerySingleOrDefaultAsync<OrderRow>(
            "select sale_id, amount, currency, status from orders where order_id = @OrderId for update", new { notice.OrderId }, transaction);
        if (order is null) return PaymentNoticeOutcome.UnknownOrder;
        if (order.Amount != notice.Amount || order.Currency != notice.Currency) return PaymentNoticeOutcome.AmountMismatch;
        if (!await BelongsAsync(connection, transaction, notice)) return PaymentNoticeOutcome.PaymentOfOtherOrder;

        var outcome = await ApplyAsync(connection, transaction, notice, order);
        // Again: another transaction may have brought the payment in meanwhile, for another order.
        if (!await BelongsAsync(connection, transaction, notice)) return PaymentNoticeOutcome.PaymentOfOtherOrder;
        await connection.ExecuteAsync("update webhook_receipt set outcome = @outcome where webhook_id = @WebhookId", new { outcome, notice.WebhookId }, transaction);
        await transaction.CommitAsync(cancellation);
        if (outcome is "paid" or "order_refunded") _ = AnnounceAsync(order.SaleId, notice.OrderId);
        return PaymentNoticeOutcome.Done;
    }

    private static async Task<bool> BelongsAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice) =>
        await connection.QuerySingleOrDefaultAsync<Guid?>("select order_id from payment where payment_id = @PaymentId", new { notice.PaymentId }, transaction) is not { } orderId
        || orderId == notice.OrderId;

    private static Task<string> ApplyAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice, OrderRow order) => notice.Type switch
    {
        PaymentNoticeType.Succeeded => SucceededAsync(connection, transaction, notice),
        PaymentNoticeType.Failed => FailedAsync(connection, transaction, notice),
        PaymentNoticeType.Refunded => RefundedAsync(connection, transaction, notice, order),
        PaymentNoticeType.Other => Task.FromResult("ignored"),
    };

    private static async Task<string> SucceededAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice) =>
        (await connection.ExecuteScalarAsync<string>(
            "select pay_order(@OrderId, @PaymentId, @Amount, @Currency)", new { notice.OrderId, notice.PaymentId, notice.Amount, notice.Currency }, transaction))!;

    // A failure that comes after the success is old news: the shopper has tried again.
    private static async Task<string> FailedAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice)
    {
        var rows = await connection.ExecuteAsync("""
            insert into payment as p (payment_id, order_id, amount, currency, state) values (@PaymentId, @OrderId, @Amount, @Currency, 'failed')
            on conflict (payment_id) do update set state = 'failed', updated_at = now() where p.state not in ('succeeded', 'surplus')
            """, new { notice.PaymentId, notice.OrderId, notice.Amount, notice.Currency }, transaction);
        return rows == 1 ? "failed" : "outdated";
    }

    // Mostly the answer to a refund that was asked for. One that was not (the provider's own, or told before the success) is
    // taken as it is: that payment pays nothing any more, and the order that it had paid is given back.
    private static async Task<string> RefundedAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, PaymentNotice notice, OrderRow order)
    {
        var state = await connection.QuerySingleOrDefaultAsync<string>(
            "select state from payment where payment_id = @PaymentId for update", new { notice.PaymentId }, transaction);
        var orderRefunded = state == "succeeded" && order.Status == "paid" && OrderId.TryGetSaleNumber(notice.OrderId, out var number)
            && await connection.ExecuteScalarAsync<bool>("select refund_order(@SaleId, @number, @OrderId, 'refunded_by_provider')", new { order.SaleId, number, notice.OrderId }, transaction);
        if (state is not ("succeeded" or "surplus"))
        {
            await connection.ExecuteAsync("""
                insert into payment (payment_id, order_id, amount, currency, state) values (@PaymentId, @OrderId, @Amount, @Currency, 'surplus')
                on conflict (payment_id) do update set state = 'surplus', updated_at = now()
                """, new { notice.PaymentId, notice.OrderId, notice.Amount, notice.Currency }, transaction);
        }
        await connection.ExecuteAsync("""
            insert into refund as r (payment_id, order_id, reason, state, confirmed_at) values (@PaymentId, @OrderId, 'refunded_by_provider', 'confirmed', now())
            on conflict (payment_id) do update set state = 'confirmed', confirmed_at = now(), last_error = null where r.state <> 'confirmed'
            """, new { notice.PaymentId, notice.OrderId }, transaction);
        return orderRefunded ? "order_refunded" : "refund_confirmed";
    }

    // Best effort: streams of the order look by themselves now and then.
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
            // They will.
        }
    }

    private sealed record OrderRow(string SaleId, long Amount, string Currency, string Status);
}
