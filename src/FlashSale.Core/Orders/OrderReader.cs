using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Reads an order from the store that has it: first from the in-flight records in Redis, then from Postgres. The
/// sequence matters. An order leaves Redis only after its commit in Postgres, so an order that is missing from both
/// stores, read in this sequence, does not exist. A replica, if there is one, is read before the primary, unless it is
/// too far behind or this node changed the order a moment ago. The primary is asked for the orders that the replica
/// lacks. While the primary is away, an old answer of the replica is better than no answer.
/// </summary>
public sealed class OrderReader
{
    private const string Columns =
        "order_id, sale_id, sku, user_id, quantity, amount, currency, status, reason, accepted_at, placed_at, pay_by, paid_at, closed_at";

    private readonly NpgsqlDataSource _postgres;
    private readonly Dependency _primary;
    private readonly NpgsqlDataSource? _replica;
    private readonly Dependency? _replicaGuard;
    private readonly ReplicaLag? _lag;
    private readonly RecentChanges<Guid>? _changedOrders;
    private readonly RecentChanges<string>? _changedUsers;
    private readonly RedisConnection _redis;
    private readonly Dependency _redisGuard;
    private readonly SharedLooks _looks;

    /// <summary>Keeps the stores. The replica and its guard are null when no replica is configured.</summary>
    public OrderReader(
        NpgsqlDataSource postgres, [FromKeyedServices(Dependency.Postgres)] Dependency primary, RedisConnection redis, [FromKeyedServices(Dependency.Redis)] Dependency redisGuard,
        TimeProvider time, PostgresOptions options, [FromKeyedServices(Dependency.PostgresReplica)] NpgsqlDataSource? replica = null, [FromKeyedServices(Dependency.PostgresReplica)] Dependency? replicaGuard = null)
    {
        (_postgres, _primary, _redis, _redisGuard, _replica, _replicaGuard) = (postgres, primary, redis, redisGuard, replica, replicaGuard);
        _looks = new SharedLooks(LookAsync, time);
        if (replica is null) return;
        var longest = TimeSpan.FromMilliseconds(options.ReplicaLagMilliseconds);
        // The replica may be as far behind as that when it is asked, and the answer is used for a while.
        var window = longest + 2 * ReplicaLag.Interval;
        (_lag, _changedOrders, _changedUsers) = (new ReplicaLag(time, longest), new RecentChanges<Guid>(time, window), new RecentChanges<string>(time, window));
    }

    /// <summary>
    /// Records that this node changed an order. For a while its reads, and the list of its owner, go to the primary.
    /// </summary>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="userId">Owner of the order. Null when the caller does not know it.</param>
    public void Changed(Guid orderId, string? userId)
    {
        _changedOrders?.Add(orderId);
        if (userId is not null) _changedUsers?.Add(userId);
    }

    /// <summary>
    /// Finds an order. Null means that both stores answered and neither has it. A replica may answer with an earlier
    /// status. Many callers that ask for the same order share a look at Postgres. For an order that is not there they
    /// wait up to a second for the next look.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis is away, and Postgres does not have the order.</exception>
    /// <exception cref="NpgsqlException">Postgres is away, and Redis does not have the order.</exception>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="saleId">Id of the order's sale.</param>
    /// <param name="cancellation">Ends the wait. The shared look goes on.</param>
    /// <param name="resting">Called before the caller waits for the next look.</param>
    public async Task<Order?> FindAsync(Guid orderId, string saleId, CancellationToken cancellation, Action? resting = null)
    {
        var (inFlight, redisAway) = await TryFindInFlightAsync(orderId, saleId, cancellation);
        if (inFlight is not null) return inFlight;
        return Found(await _looks.FindAsync(orderId, notInFlight: redisAway is null, resting).WaitAsync(cancellation), redisAway);
    }

    /// <summary>
    /// Finds an order as <see cref="FindAsync"/> does, but asks the primary at once and shares no look. Meant for
    /// orders that are known to exist.
    /// </summary>
    public async Task<Order?> FindCurrentAsync(Guid orderId, string saleId, CancellationToken cancellation)
    {
        var (inFlight, redisAway) = await TryFindInFlightAsync(orderId, saleId, cancellation);
        if (inFlight is not null) return inFlight;
        return Found(await FindStoredAsync(orderId, cancellation), redisAway);
    }

    /// <summary>Lists a user's stored orders, newest first.</summary>
    /// <param name="userId">Id of the user.</param>
    /// <param name="limit">The highest number of orders to return.</param>
    /// <param name="before">Return only orders older than this one. Null starts at the newest.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<Order>> OfUserAsync(string userId, int limit, Guid? before, CancellationToken cancellation)
    {
        var query = (userId, limit, before);
        return await ReadAsync(static (source, query, token) => OfUserAsync(source, query, token), query, static _ => true, _changedUsers?.Contains(userId) == true, cancellation);
    }

    /// <summary>
    /// Finds an order in the primary of Postgres only. Null when it is not stored, or not stored yet.
    /// </summary>
    public async Task<Order?> FindStoredAsync(Guid orderId, CancellationToken cancellation) =>
        await _primary.RepeatableAsync(static (call, token) => FindStoredAsync(call.Source, call.orderId, token), (Source: _postgres, orderId), cancellation);

    private async Task<Order?> LookAsync(Guid orderId) => await ReadAsync(
        static (source, orderId, token) => FindStoredAsync(source, orderId, token), orderId, static order => order is not null, _changedOrders?.Contains(orderId) == true, CancellationToken.None);

    // A failure of the replica is not an answer, so the primary is asked. An order that the replica has may be out of
    // date there, but never wrong.
    private async ValueTask<T> ReadAsync<TQuery, T>(
        Func<NpgsqlDataSource, TQuery, CancellationToken, ValueTask<T>> read, TQuery query, Func<T, bool> isAnswer, bool isChanged, CancellationToken cancellation)
    {
        var isClose = !isChanged && await IsReplicaCloseAsync();
        if (isClose && await TryReplicaAsync(read, query, isAnswer, cancellation) is (true, var answer)) return answer!;
        try
        {
            return await _primary.RepeatableAsync(static (call, token) => call.read(call.Source, call.query, token), (Source: _postgres, read, query), cancellation);
        }
        catch (Exception e) when (_replica is not null && !isClose && IsAway(e, cancellation))
        {
            if (await TryReplicaAsync(read, query, isAnswer, cancellation) is (true, var old)) return old!;
            throw;
        }
    }

    private async Task<(bool Answered, T? Answer)> TryReplicaAsync<TQuery, T>(
        Func<NpgsqlDataSource, TQuery, CancellationToken, ValueTask<T>> read, TQuery query, Func<T, bool> isAnswer, CancellationToken cancellation)
    {
        try
        {
            var answer = await _replicaGuard!.RepeatableAsync(static (call, token) => call.read(call.Source!, call.query, token), (Source: _replica, read, query), cancellation);
            return (isAnswer(answer), answer);
        }
        catch (Exception e) when (IsAway(e, cancellation))
        {
            return (false, default);
        }
    }

    private async Task<bool> IsReplicaCloseAsync()
    {
        if (_replica is null) return false;
        try
        {
            return await _lag!.IsCloseAsync(_replica, _replicaGuard!);
        }
        catch (Exception e) when (IsAway(e, CancellationToken.None))
        {
            return false;
        }
    }

    private static bool IsAway(Exception e, CancellationToken cancellation) => !cancellation.IsCancellationRequested && (e is NpgsqlException || Postgres.IsTransient(e));

    private static Order? Found(Order? stored, Exception? redisAway) =>
        stored is null && redisAway is not null ? throw new RedisUnavailableException("The order may be in flight.", redisAway) : stored;

    private async Task<(Order? Order, Exception? Away)> TryFindInFlightAsync(Guid orderId, string saleId, CancellationToken cancellation)
    {
        try
        {
            return (await _redisGuard.RepeatableAsync(static async (call, token) => await call.Reader.FindInFlightAsync(call.orderId, call.saleId).WaitAsync(token),
                (Reader: this, orderId, saleId), cancellation), null);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException or DependencyRejectedException or DependencyTimeoutException)
        {
            return (null, e);
        }
    }

    private static async ValueTask<IReadOnlyList<Order>> OfUserAsync(NpgsqlDataSource source, (string UserId, int Limit, Guid? Before) query, CancellationToken cancellation)
    {
        await using var connection = await source.OpenConnectionAsync(cancellation);
        // Two halves, so that each uses its own partial index.
        var rows = await connection.QueryAsync<OrderRow>(new CommandDefinition($"""
            (select {Columns} from orders where user_id = @UserId and status <> 'rejected' and (@Before::uuid is null or order_id < @Before)
             order by order_id desc limit @Limit)
            union all
            (select {Columns} from orders where user_id = @UserId and status = 'rejected' and (@Before::uuid is null or order_id < @Before)
             order by order_id desc limit @Limit)
            order by order_id desc limit @Limit
            """, new { query.UserId, query.Limit, query.Before }, cancellationToken: cancellation));
        return [.. rows.Select(row => row.ToOrder())];
    }

    private async Task<Order?> FindInFlightAsync(Guid orderId, string saleId)
    {
        var keys = new SaleKeys(saleId);
        var record = (byte[]?)await _redis.CallAsync(database => database.HashGetAsync(keys.Inflight, orderId.ToByteArray(bigEndian: true)));
        if (record is null) return null;
        var acceptedAt = 0L;
        foreach (var b in record.AsSpan(0, 6)) acceptedAt = acceptedAt << 8 | b;
        var (reservation, _) = ReservationCodec.Decode(record.AsSpan(6), acceptedAt);
        return new Order(orderId, saleId, reservation.Sku, reservation.UserId, reservation.Quantity, reservation.Amount, reservation.Currency,
            OrderStatus.Accepted, null, DateTimeOffset.FromUnixTimeMilliseconds(acceptedAt), null, null, null, null);
    }

    private static async ValueTask<Order?> FindStoredAsync(NpgsqlDataSource source, Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await source.OpenConnectionAsync(cancellation);
        var row = await connection.QuerySingleOrDefaultAsync<OrderRow>(
            new CommandDefinition($"select {Columns} from orders where order_id = @orderId", new { orderId }, cancellationToken: cancellation));
        return row?.ToOrder() ?? await FindDeadLetterAsync(connection, orderId, cancellation);
    }

    // The shopper got a 202 for a reservation that no row can hold. So it stays accepted until an operator rejects it,
    // and is rejected from then on.
    private static async Task<Order?> FindDeadLetterAsync(NpgsqlConnection connection, Guid orderId, CancellationToken cancellation)
    {
        var letter = await connection.QueryFirstOrDefaultAsync<LetterRow>(new CommandDefinition("""
            select sale_id, record, accepted_at, reason, resolved_at from dead_letter
            where order_id = @orderId and state in ('open', 'rejected') order by dead_letter_id desc limit 1
            """, new { orderId }, cancellationToken: cancellation));
        if (letter is null) return null;
        var (reservation, _) = ReservationCodec.Decode(letter.Record, 0);
        return new Order(orderId, letter.SaleId, reservation.Sku, reservation.UserId, reservation.Quantity, reservation.Amount, reservation.Currency,
            letter.ResolvedAt is null ? OrderStatus.Accepted : OrderStatus.Rejected, letter.Reason, new(letter.AcceptedAt), null, null, null,
            letter.ResolvedAt is { } at ? new DateTimeOffset(at) : null);
    }

    private sealed record LetterRow(string SaleId, byte[] Record, DateTime AcceptedAt, string? Reason, DateTime? ResolvedAt);

    private sealed record OrderRow(
        Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, string Status, string? Reason,
        DateTime AcceptedAt, DateTime PlacedAt, DateTime? PayBy, DateTime? PaidAt, DateTime? ClosedAt)
    {
        public Order ToOrder() => new(OrderId, SaleId, Sku, UserId, Quantity, Amount, Currency, OrderStatuses.Parse(Status), Reason,
            new(AcceptedAt), new(PlacedAt), At(PayBy), At(PaidAt), At(ClosedAt));

        private static DateTimeOffset? At(DateTime? time) => time is { } at ? new DateTimeOffset(at) : null;
    }
}
