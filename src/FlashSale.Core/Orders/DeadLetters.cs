using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Reservations that Postgres can never store. Their units stay in flight, also through a rebuild, until an operator
/// retries them (after mending the cause) or rejects them. A decision is one transaction in Postgres and includes its
/// audit row. Redis learns of it afterwards: at once, or from a worker (<see cref="SettleDecidedAsync"/>) when a
/// process or Redis dies in between.
/// </summary>
public sealed class DeadLetters(NpgsqlDataSource postgres, SettleScript settle)
{
    private const string Columns =
        "dead_letter_id, sale_id, order_id, record, accepted_at, error, sqlstate, state, reason, created_at, resolved_at";

    private const int SettledAtOnce = 100;

    /// <summary>
    /// Stores a dead letter in Postgres. Repeated deliveries of the same order id and record store it only once.
    /// </summary>
    public async Task AddAsync(
        string saleId, Guid orderId, ReadOnlyMemory<byte> record, long acceptedAt, string error, string? sqlState, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition("""
            insert into dead_letter (sale_id, order_id, record, accepted_at, error, sqlstate)
            select @saleId, @orderId, @record, @acceptedAt, @error, @sqlState
            where not exists (select 1 from dead_letter where order_id = @orderId and record = @record)
            on conflict do nothing
            """,
            new
            {
                saleId, orderId, record = record.ToArray(), error, sqlState,
                acceptedAt = DateTimeOffset.FromUnixTimeMilliseconds(acceptedAt).UtcDateTime,
            }, cancellationToken: cancellation));
    }

    /// <summary>Lists dead letters, newest first.</summary>
    /// <param name="limit">The highest number of letters to return.</param>
    /// <param name="before">Return only letters with a lower id. Null starts at the newest.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<DeadLetter>> ListAsync(int limit, long? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<DeadLetter>(new CommandDefinition($"""
            select {Columns} from dead_letter where @before::bigint is null or dead_letter_id < @before order by dead_letter_id desc limit @limit
            """, new { limit, before }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Counts the letters that wait for a decision.</summary>
    public async Task<long> CountOpenAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<long>(new CommandDefinition("select count(*) from dead_letter where state = 'open'", cancellationToken: cancellation));
    }

    /// <summary>Tries once more to store the reservation as an order.</summary>
    public Task<DeadLetterOutcome> RetryAsync(long id, Actor actor, CancellationToken cancellation) =>
        DecideAsync(id, actor, "retried", null, StoreAsync, cancellation);

    /// <summary>
    /// Gives the reservation up. Its units and the user's counts go back, and the order reads as rejected from then on.
    /// </summary>
    public Task<DeadLetterOutcome> RejectAsync(long id, Actor actor, string reason, CancellationToken cancellation) =>
        DecideAsync(id, actor, "rejected", reason, static (_, _, _) => Task.FromResult(true), cancellation);

    /// <summary>
    /// Settles decisions in Redis that the deciding process could not settle, because it died or Redis was away. May be
    /// repeated.
    /// </summary>
    /// <returns>The number of letters that were settled, at most 100 per call.</returns>
    public async Task<int> SettleDecidedAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var letters = (await connection.QueryAsync<DeadLetter>(new CommandDefinition($"""
            select {Columns} from dead_letter where state <> 'open' and settled_at is null order by dead_letter_id limit @SettledAtOnce
            """, new { SettledAtOnce }, cancellationToken: cancellation))).AsList();
        foreach (var letter in letters) await SettleAsync(connection, letter, cancellation);
        return letters.Count;
    }

    // The row lock lets one decision about a letter run at a time. The shared sale lock keeps decisions out while a
    // rebuild reads the open letters. The decision uses a single connection: a second one would ask for the sale's lock
    // behind a ledger read, and that read waits for the first connection.
    private async Task<DeadLetterOutcome> DecideAsync(
        long id, Actor actor, string state, string? reason, Func<NpgsqlTransaction, DeadLetter, CancellationToken, Task<bool>> act,
        CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        DeadLetter letter;
        await using (var transaction = await connection.BeginTransactionAsync(cancellation))
        {
            var saleId = await connection.ExecuteScalarAsync<string?>("select sale_id from dead_letter where dead_letter_id = @id", new { id });
            if (saleId is null) return DeadLetterOutcome.NotFound;
            await SaleLock.ShareAsync(transaction, saleId);
            letter = await connection.QuerySingleAsync<DeadLetter>($"select {Columns} from dead_letter where dead_letter_id = @id for update", new { id });
            if (letter.State != "open") return DeadLetterOutcome.AlreadyResolved;
            if (!await act(transaction, letter, cancellation)) return DeadLetterOutcome.StillRefused;
            await connection.ExecuteAsync(
                "update dead_letter set state = @state, reason = @reason, resolved_at = now() where dead_letter_id = @id", new { id, state, reason });
            await AuditLog.WriteAsync(transaction, actor, $"dead_letter.{state}", $"dead-letter/{id}", new { letter.State }, new { state, reason });
            await transaction.CommitAsync(cancellation);
        }
        try
        {
            await SettleAsync(connection, letter with { State = state }, cancellation);
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // The decision stands. A worker tells Redis when it is back.
        }
        return DeadLetterOutcome.Resolved;
    }

    private static async Task<bool> StoreAsync(NpgsqlTransaction transaction, DeadLetter letter, CancellationToken cancellation)
    {
        try
        {
            var (reservation, _) = ReservationCodec.Decode(letter.Record, Milliseconds(letter.AcceptedAt));
            OrderId.TryGetSaleNumber(reservation.OrderId, out var number);
            return (await ReservationStore.PersistAsync(transaction, letter.SaleId, number, [reservation], cancellation))[0].Same;
        }
        catch (FormatException)
        {
            return false;
        }
        catch (PostgresException e) when (ReservationSettler.IsPoison(e))
        {
            return false;
        }
    }

    // The verdict comes from the order row in Postgres as it is now, so settling may come late and may be repeated.
    private async Task SettleAsync(NpgsqlConnection connection, DeadLetter letter, CancellationToken cancellation)
    {
        if (letter.OrderId != Guid.Empty)
        {
            var order = await connection.QuerySingleOrDefaultAsync<(string Status, string? Reason)?>(new CommandDefinition(
                "select status, reason from orders where order_id = @OrderId", new { letter.OrderId }, cancellationToken: cancellation));
            var (_, length) = ReservationCodec.Decode(letter.Record, Milliseconds(letter.AcceptedAt));
            Verdict? verdict = (letter.State, order) switch
            {
                ("retried", { } stored) => ReservationSettler.VerdictOf(new(OrderStatuses.Parse(stored.Status), stored.Reason, Same: true)),
                ("rejected", null) => Verdict.Rejected,
                // The id belongs to another purchase. That purchase is in flight or stored, and must stay.
                _ => null,
            };
            if (verdict is { } decided)
                await settle.SettleAsync(new SaleKeys(letter.SaleId), [], [new(decided, Milliseconds(letter.AcceptedAt), letter.Record.AsMemory(0, length))]);
        }
        await connection.ExecuteAsync(new CommandDefinition(
            "update dead_letter set settled_at = now() where dead_letter_id = @DeadLetterId", new { letter.DeadLetterId }, cancellationToken: cancellation));
    }

    private static long Milliseconds(DateTime time) => new DateTimeOffset(time).ToUnixTimeMilliseconds();
}
