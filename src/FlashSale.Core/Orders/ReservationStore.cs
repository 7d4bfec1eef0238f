using Dapper;
using FlashSale.Contracts;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>The row that Postgres has for a reservation.</summary>
/// <param name="Status">The order's status.</param>
/// <param name="Reason">Why the order was rejected. Null if it was not.</param>
/// <param name="Same">False when the id belongs to another purchase. Then this reservation is not stored.</param>
public sealed record StoredReservation(OrderStatus Status, string? Reason, bool Same);

/// <summary>
/// Calls <c>persist_reservations</c> (Migrations/0036_persist_new_orders_first.sql) and <c>pay_free_orders</c>.
/// </summary>
public sealed class ReservationStore(NpgsqlDataSource postgres)
{
    private static readonly StoredReservation Placed = new(OrderStatus.PendingPayment, null, Same: true);

    /// <summary>
    /// Stores reservations of one sale, each once, and judges the new ones by stock and limits. Uses one transaction
    /// and one round trip. A pack with a reservation that costs nothing takes more round trips.
    /// </summary>
    /// <returns>One answer per reservation, in their order.</returns>
    /// <exception cref="PostgresException">
    /// Classes 22 and 23: at least one of the reservations can never be stored. The whole call stored nothing.
    /// </exception>
    public async Task<IReadOnlyList<StoredReservation>> PersistAsync(
        string saleId, int saleNumber, IReadOnlyList<Reservation> reservations, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        if (!AnyFree(reservations)) return await StoreAsync(connection, saleId, saleNumber, reservations, cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var stored = await PersistAsync(transaction, saleId, saleNumber, reservations, cancellation);
        await transaction.CommitAsync(cancellation);
        return stored;
    }

    /// <summary>Does the same in the caller's transaction.</summary>
    /// <exception cref="PostgresException">
    /// Classes 22 and 23: at least one of the reservations can never be stored. The caller must roll the transaction
    /// back.
    /// </exception>
    public static async Task<IReadOnlyList<StoredReservation>> PersistAsync(
        NpgsqlTransaction transaction, string saleId, int saleNumber, IReadOnlyList<Reservation> reservations, CancellationToken cancellation)
    {
        var stored = await StoreAsync(transaction.Connection!, saleId, saleNumber, reservations, cancellation);
        // Pay in the same transaction, so that nobody ever sees an order that costs nothing wait for a payment.
        if (AnyFree(reservations))
        {
            await transaction.Connection!.ExecuteAsync(new CommandDefinition("select pay_free_orders(@saleId, @orderIds)",
                new { saleId, orderIds = Column(reservations, r => r.OrderId) }, transaction, cancellationToken: cancellation));
        }
        return stored;
    }

    private static bool AnyFree(IReadOnlyList<Reservation> reservations)
    {
        for (var i = 0; i < reservations.Count; i++)
        {
            if (reservations[i].Amount == 0) return true;
        }
        return false;
    }

    private static async Task<IReadOnlyList<StoredReservation>> StoreAsync(
        NpgsqlConnection connection, string saleId, int saleNumber, IReadOnlyList<Reservation> reservations, CancellationToken cancellation)
    {
        var rows = (await connection.QueryAsync<(int Pos, string Status, string? Reason, bool Same)>(new CommandDefinition("""
            select pos, status, reason, same
            from persist_reservations(@saleId, @saleNumber, @orderIds, @skus, @users, @keys, @quantities, @amounts, @currencies, @accepted)
            """,
            new
            {
                saleId,
                saleNumber,
                orderIds = Column(reservations, r => r.OrderId),
                skus = Column(reservations, r => r.Sku),
                users = Column(reservations, r => r.UserId),
                keys = Column(reservations, r => r.Key),
                quantities = Column(reservations, r => r.Quantity),
                amounts = Column(reservations, r => r.Amount),
                currencies = Column(reservations, r => r.Currency),
                accepted = Column(reservations, r => DateTimeOffset.FromUnixTimeMilliseconds(r.AcceptedAt).UtcDateTime),
            }, cancellationToken: cancellation))).AsList();

        if (rows.Count > 0 && rows.Count != reservations.Count)
            throw new InvalidOperationException($"persist_reservations answered {rows.Count} rows for {reservations.Count} reservations; allowed are none or all.");
        var stored = new StoredReservation[reservations.Count];
        // Postgres answers no rows for a pack in which it agrees with Redis about every order.
        Array.Fill(stored, Placed);
        foreach (var (pos, status, reason, same) in rows) stored[pos - 1] = new(OrderStatuses.Parse(status), reason, same);
        return stored;
    }

    private static T[] Column<T>(IReadOnlyList<Reservation> reservations, Func<Reservation, T> value)
    {
        var column = new T[reservations.Count];
        for (var i = 0; i < column.Length; i++) column[i] = value(reservations[i]);
        return column;
    }
}
