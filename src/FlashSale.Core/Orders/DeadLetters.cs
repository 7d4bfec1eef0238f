using Dapper;
using FlashSale.Contracts;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>A reservation that no row may hold, and what became of it.</summary>
public sealed record DeadLetter(
    long DeadLetterId, string SaleId, Guid OrderId, byte[] Record, DateTime AcceptedAt, string Error, string? SqlState,
    string State, string? Reason, DateTime CreatedAt, DateTime? ResolvedAt);

/// <summary>How an operator's decision on a dead letter ended.</summary>
public enum DeadLetterOutcome
{
    /// <summary>Done.</summary>
    Resolved,

    /// <summary>There is no such dead letter.</summary>
    NotFound,

    /// <summary>It was decided before.</summary>
    AlreadyResolved,

    /// <summary>It still cannot be stored.</summary>
    StillRefused,
}

/// <summary>
/// Reservations that Postgres can never store. Their units stay in flight, also through a rebuild, until an operator
/// retries (after the cause is mended) or rejects them.
/// </summary>
public sealed class DeadLetters(NpgsqlDataSource postgres, ReservationStore store, SettleScript settle)
{
    private const string Columns =
        "dead_letter_id, sale_id, order_id, record, accepted_at, error, sqlstate, state, reason, created_at, resolved_at";

    /// <summary>Keeps a record; the same one once, however often it is delivered.</summary>
    public async Task AddAsync(
        string saleId, Guid orderId, ReadOnlyMemory<byte> record, long acceptedAt, string error, string? sqlState, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition("""
            insert into dead_letter (sale_id, order_id, record, accepted_at, error, sqlstate)
            select @saleId, @orderId, @record, @acceptedAt, @error, @sqlState
            where not exists (select 1 from dead_letter where order_id = @orderId and record = @record)
            on conflict do nothing
            """, new { saleId, orderId, record = record.ToArray(), acceptedAt = DateTimeOffset.FromUnixTimeMilliseconds(acceptedAt).UtcDateTime, error, sqlState },
            cancellationToken: cancellation));
    }

    /// <summary>Dead letters, newest first.</summary>
    /// <param name="limit">How many at most.</param>
    /// <param name="before">Only those with a lower id.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<DeadLetter>> ListAsync(int limit, long? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<DeadLetter>(new CommandDefinition(
            $"select {Columns} from dead_letter where @before::bigint is null or dead_letter_id < @before order by dead_letter_id desc limit @limit",
            new { limit, before }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Tries once more to store it.</summary>
    public Task<DeadLetterOutcome> RetryAsync(long id, CancellationToken cancellation) => DecideAsync(id, "retried", null, async letter =>
    {
        try
        {
            var (reservation, length) = ReservationCodec.Decode(letter.Record, Milliseconds(letter.AcceptedAt));
            OrderId.TryGetSaleNumber(reservation.OrderId, out var number);
            var stored = (await store.PersistAsync(letter.SaleId, number, [reservation], cancellation))[0];
            if (!stored.Same) return false;
            await settle.SettleAsync(new SaleKeys(letter.SaleId), [], [new(ReservationSettler.VerdictOf(stored), reservation.AcceptedAt, letter.Record.AsMemory(0, length))]);
            return true;
        }
        catch (FormatException)
        {
            return false;
        }
        catch (PostgresException e) when (ReservationSettler.IsPoison(e))
        {
            return false;
        }
    }, cancellation);

    /// <summary>Gives it up: its units and the user's counts go back.</summary>
    public Task<DeadLetterOutcome> RejectAsync(long id, string reason, CancellationToken cancellation) => DecideAsync(id, "rejected", reason, async letter =>
    {
        // Its own id only: when the id belongs to another purchase, that one is in flight or stored, and stays.
        if (letter.OrderId != Guid.Empty && !await IsStoredAsync(letter.OrderId, cancellation))
            await settle.SettleAsync(new SaleKeys(letter.SaleId), [], [new(Verdict.Rejected, Milliseconds(letter.AcceptedAt), letter.Record)]);
        return true;
    }, cancellation);

    // One decision at a time and letter, and none while a rebuild reads the open ones. What is done may be done again:
    // a process that dies before the commit leaves the letter open.
    private async Task<DeadLetterOutcome> DecideAsync(
        long id, string state, string? reason, Func<DeadLetter, Task<bool>> act, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var saleId = await connection.ExecuteScalarAsync<string?>("select sale_id from dead_letter where dead_letter_id = @id", new { id });
        if (saleId is null) return DeadLetterOutcome.NotFound;
        await SaleLock.ShareAsync(transaction, saleId);
        var letter = await connection.QuerySingleAsync<DeadLetter>($"select {Columns} from dead_letter where dead_letter_id = @id for update", new { id });
        if (letter.State != "open") return DeadLetterOutcome.AlreadyResolved;
        if (!await act(letter)) return DeadLetterOutcome.StillRefused;
        await connection.ExecuteAsync(
            "update dead_letter set state = @state, reason = @reason, resolved_at = now() where dead_letter_id = @id", new { id, state, reason });
        await transaction.CommitAsync(cancellation);
        return DeadLetterOutcome.Resolved;
    }

    private static long Milliseconds(DateTime time) => new DateTimeOffset(time).ToUnixTimeMilliseconds();

    private async Task<bool> IsStoredAsync(Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<bool>(
            new CommandDefinition("select exists (select 1 from orders where order_id = @orderId)", new { orderId }, cancellationToken: cancellation));
    }
}
