using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>The result of a load.</summary>
/// <param name="Items">The number of items of the sale.</param>
/// <param name="Units">The stock of all items together, in units.</param>
/// <param name="Epoch">The sale's epoch from now on.</param>
public sealed record LoadedSale(int Items, long Units, long Epoch);

/// <summary>
/// The sale cannot be loaded now. Nothing was lost. If the sale was loaded before, its old state in Redis is held.
/// </summary>
public sealed class SaleLoadException(string message) : Exception(message);

/// <summary>
/// Loads a sale into Redis from Postgres. The first load and the rebuild of a loaded sale take the same steps: raise
/// the epoch in Postgres, hold the sale, wait until its outbox is empty. Then, under the sale's exclusive lock, compute
/// stock, limits, counts and idempotency records into shadow keys, and swap them and the epoch in one script. If a
/// process dies at any point, Postgres has an epoch that Redis lacks. A worker sees that and loads the sale again.
/// </summary>
public sealed class SaleLoader(NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, RedisHeadroom headroom, RedisLog log)
{
    // Advisory lock class of "this sale is being loaded". A sale has one loader at a time.
    private const int LoaderLock = 2;

    private const int KeysPerCall = 1_000;

    // How long a loader that shows no life keeps others from loading the sale. The sale is held meanwhile.
    private static readonly TimeSpan LoaderLease = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DrainInterval = TimeSpan.FromMilliseconds(25);
    private static readonly RedisScript SwapScript = new("Ledger.swap.lua");

    /// <summary>Loads or rebuilds a sale. A draft becomes live. Other sales keep their status.</summary>
    /// <param name="saleId">Id of the sale.</param>
    /// <param name="audit">
    /// Writes the audit entry, with the actor that asked for the load, in the transaction of the first lasting step.
    /// From that step on the load is brought to its end, by another process if need be, so the entry must be there.
    /// </param>
    /// <param name="cancellation">Cancels the load. A worker finishes it if it had begun.</param>
    /// <returns>The items, units and epoch of the load.</returns>
    /// <exception cref="SaleLoadException">The sale cannot be loaded now.</exception>
    /// <exception cref="RedisUnavailableException">Redis is away. Call again.</exception>
    /// <exception cref="RedisOutcomeUnknownException">Redis did not answer in time. Call again.</exception>
    /// <exception cref="NpgsqlException">Postgres is away. Call again.</exception>
    public async Task<LoadedSale> LoadAsync(
        string saleId, Func<NpgsqlTransaction, LoadedSale, Task> audit, CancellationToken cancellation) =>
        (await LoadAsync(saleId, audit, onlyIfStale: false, cancellation))!;

    /// <summary>
    /// Loads a sale, unless Redis holds it under Postgres' epoch and it was verified since Redis started. Null then.
    /// </summary>
    public Task<LoadedSale?> LoadIfStaleAsync(string saleId, CancellationToken cancellation) =>
        LoadAsync(saleId, static (_, _) => Task.CompletedTask, onlyIfStale: true, cancellation);

    private async Task<LoadedSale?> LoadAsync(
        string saleId, Func<NpgsqlTransaction, LoadedSale, Task> audit, bool onlyIfStale, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // Between two statements of its transaction the loader waits for Redis, but less long than this. A loader that
        // is frozen there would otherwise keep the sale's exclusive lock.
        await connection.ExecuteAsync("set statement_timeout = 0; set lock_timeout = '30s'; set idle_in_transaction_session_timeout = '40s'");
        var number = await connection.ExecuteScalarAsync<int?>("select number from sale where sale_id = @saleId", new { saleId })
            ?? throw new SaleLoadException($"There is no sale {saleId}.");
        // A worker may hold this lock just to see that there is nothing to do. So a caller that was asked to load waits
        // for it, and a worker does not.
        await using var alone = await SessionLock.TryTakeAsync(
                postgres, LoaderLock, number, LoaderLease, onlyIfStale ? TimeSpan.Zero : LockPatience, cancellation)
            ?? throw new SaleLoadException($"Sale {saleId} is being loaded by another process.");
        try
        {
            // Look only now, under the lock: its previous holder may have loaded the sale.
            if (onlyIfStale && !await IsStaleAsync(connection, saleId)) return null;
            return await LoadAloneAsync(connection, saleId, number, audit, alone.Lost);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new SaleLoadException($"Sale {saleId} was not loaded: this process stood still, and others may load it now. Try again.");
        }
    }

    private async Task<bool> IsStaleAsync(NpgsqlConnection connection, string saleId)
    {
        var epoch = await connection.ExecuteScalarAsync<long>("select epoch from sale where sale_id = @saleId", new { saleId });
        var state = await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(saleId).Sale, ["epoch", "run"]));
        return state[0] != epoch || state[1] != await RedisRun.IdAsync(redis);
    }

    private async Task<LoadedSale> LoadAloneAsync(
        NpgsqlConnection connection, string saleId, int number, Func<NpgsqlTransaction, LoadedSale, Task> audit, CancellationToken cancellation)
    {
        var keys = new SaleKeys(saleId);
        if (!await connection.ExecuteScalarAsync<bool>("select exists (select 1 from sale_item where sale_id = @saleId)", new { saleId }))
            throw new SaleLoadException($"Sale {saleId} has no items.");
        await CheckDurabilityAsync();
        if (await PostgresDurability.ProblemAsync(connection, cancellation) is { } problem) throw new SaleLoadException(problem);
        if (await headroom.LackAsync(connection, saleId) is { } lack) throw new SaleLoadException(lack);
        // The new epoch is a fence: from here on, a script called with the old epoch refuses, or it ran before and its
        // entry is drained below. The new epoch must be above every epoch that Redis has seen, because a Postgres that
        // was restored to an earlier point has forgotten the later ones.
        var known = (long?)await redis.CallAsync(database => database.HashGetAsync(keys.Sale, "epoch")) ?? 0;
        foreach (var begun in await redis.CallAsync(database => database.HashKeysAsync(keys.Epochs))) known = Math.Max(known, (long)begun);
        var epoch = await BeginAsync(connection, saleId, known, audit);
        await SaleHold.HoldAsync(redis, keys, epoch);
        // Remove the keys that dead loads have left behind, before this load writes the same data once more.
        await RemoveOldEpochsAsync(keys, epoch);

        for (var deadline = Environment.TickCount64 + (long)DrainTimeout.TotalMilliseconds; ; await Task.Delay(DrainInterval, cancellation))
        {
            var length = await redis.CallAsync(database => database.StreamLengthAsync(keys.Outbox));
            if (length == 0)
            {
                var loaded = await SwapAsync(connection, keys, saleId, number, epoch, cancellation);
                await publisher.PublishAsync(saleId, cancellation);
                await RemoveOldEpochsAsync(keys, loaded.Epoch);
                await RewriteLogAsync(connection);
                return loaded;
            }
            if (Environment.TickCount64 > deadline)
                throw new SaleLoadException($"{length} outbox entries of sale {saleId} did not reach Postgres within {DrainTimeout.TotalSeconds} s. Is the worker running? Try again.");
        }
    }

    private static async Task<long> BeginAsync(
        NpgsqlConnection connection, string saleId, long known, Func<NpgsqlTransaction, LoadedSale, Task> audit)
    {
        await using var transaction = await connection.BeginTransactionAsync();
        var epoch = await connection.ExecuteScalarAsync<long?>("""
            update sale set epoch = greatest(epoch, @known) + 1, redis_applied = 0, version = version + 1,
                status = case status when 'draft' then 'live' else status end, updated_at = now()
            where sale_id = @saleId and status <> 'archived' returning epoch
            """, new { saleId, known }) ?? throw Archived(saleId);
        var (items, units) = await connection.QuerySingleAsync<(int, long)>(
            "select count(*)::int, coalesce(sum(stock), 0) from sale_item where sale_id = @saleId", new { saleId });
        await audit(transaction, new LoadedSale(items, units, epoch));
        await transaction.CommitAsync();
        return epoch;
    }

    private async Task<LoadedSale> SwapAsync(NpgsqlConnection connection, SaleKeys keys, string saleId, int number, long epoch, CancellationToken cancellation)
    {
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await SaleLock.TakeAsync(connection, number);
        var runId = await RedisRun.IdAsync(redis);
        var sale = await CatalogPublisher.ReadAsync(connection, saleId) ?? throw new SaleLoadException($"There is no sale {saleId}.");
        if (sale.Status is SaleStatus.Archived) throw Archived(saleId);
        // A loader that stood still finds the epoch of another loader. Its own writes would go to keys that are in use.
        if (sale.Epoch != epoch) throw Overtaken(saleId);
        var units = sale.Items.Sum(item => (long)item.Stock);
        var shadow = new SaleShadow(redis, keys, sale.Epoch, SaleKeys.BucketsFor(units));
        await shadow.FillAsync(connection, sale, cancellation);
        // Add the sale before it can sell, since relays must find its outbox.
        await redis.CallAsync(database => database.SetAddAsync(SaleKeys.Outboxes, saleId));
        var answer = (string?)await SwapScript.CallLongAsync(redis,
            [keys.Sale, keys.Stock, keys.Limit, keys.Inflight, keys.InflightUnits, keys.Outbox, keys.Returned],
            [sale.Epoch, runId, sale.Version, CatalogPublisher.StatusText(sale.Status), sale.OpensAt, sale.ClosesAt, sale.PerUserLimit ?? 0, shadow.Buckets,
                sale.RequiresTicket ? 1 : 0, sale.AdmissionPerSecond ?? 0]);
        // The new stock includes the pending returns. If the swap failed, Redis lacks this epoch, so the sale is loaded
        // again and the returns are in that load.
        await connection.ExecuteAsync("update stock_return set state = 'superseded' where sale_id = @saleId and state = 'pending'", new { saleId });
        await connection.ExecuteAsync("update sale set rebuild_required = false where sale_id = @saleId and rebuild_required", new { saleId });
        await transaction.CommitAsync(cancellation);
        if (answer == "done" && !await SaleVerifier.LetSellAsync(redis, keys, runId, sale.Epoch)) answer = "run";
        return answer switch
        {
            "done" => new LoadedSale(sale.Items.Count, units, sale.Epoch),
            "outbox" => throw new SaleLoadException($"Sale {saleId} was not loaded: reservations came in meanwhile. Try again."),
            "run" => throw new SaleLoadException($"Sale {saleId} was not loaded: Redis was restarted meanwhile. Try again."),
            _ => throw Overtaken(saleId),
        };
    }

    // The keys of an archived sale have left Redis and must not come back.
    private static SaleLoadException Archived(string saleId) => new($"Sale {saleId} is archived.");

    private static SaleLoadException Overtaken(string saleId) => new($"Sale {saleId} was not loaded: another process loaded it meanwhile. Try again.");

    // A 202 is only as durable as Redis. A Redis that may lose or evict acknowledged writes must not sell.
    private async Task CheckDurabilityAsync()
    {
        var persistence = await RedisRun.InfoAsync(redis, "persistence");
        if (persistence.Number("aof_enabled") != 1) throw new SaleLoadException("Redis runs without an append-only file: set appendonly yes.");
        if (persistence.GetValueOrDefault("aof_last_write_status") == "err")
            throw new SaleLoadException("Redis could not write its append-only file: is its disk full?");
        foreach (var (setting, required) in new[] { ("appendfsync", "always"), ("maxmemory-policy", "noeviction") })
        {
            if (await RedisRun.SettingAsync(redis, setting) is { } value && value != required)
                throw new SaleLoadException($"Redis runs with {setting} {value}: set {setting} {required}.");
        }
    }

    // A rewrite of the file in the middle of a rush would take a core and the disk from purchases.
    private async Task RewriteLogAsync(NpgsqlConnection connection)
    {
        var open = await connection.ExecuteScalarAsync<bool>(
            "select exists (select 1 from sale where status = 'live' and opens_at <= now() + interval '1 minute' and closes_at > now())");
        if (!open) await log.RewriteAsync();
    }

    // Finds the keys by the list of epochs, since a search would go over the keys of all sales while others sell. It
    // spares later epochs: if this loader has lost its lock, another loader may be writing them. It also spares the
    // epoch that is in use.
    private async Task RemoveOldEpochsAsync(SaleKeys keys, long epoch)
    {
        var inUse = await redis.CallAsync(database => database.HashGetAsync(keys.Sale, "epoch"));
        foreach (var entry in await redis.CallAsync(database => database.HashGetAllAsync(keys.Epochs)))
        {
            var (old, buckets) = ((long)entry.Name, (int)entry.Value);
            if (old >= epoch || old == inUse) continue;
            foreach (var chunk in keys.OfEpoch(old, buckets).Chunk(KeysPerCall)) await redis.UnlinkAsync(chunk);
            await redis.CallAsync(database => database.HashDeleteAsync(keys.Epochs, old));
        }
    }
}
