using System.Net.Sockets;
using FlashSale.LoadTests.Targets;
using Npgsql;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>The verdict on the promises of a run.</summary>
public sealed record VerdictResult
{
    /// <summary>Lines such as "I3: …", the first of each promise. Empty: no promise is broken.</summary>
    public required IReadOnlyList<string> Violations { get; init; }

    /// <summary>Number of times that each promise was found broken.</summary>
    public required IReadOnlyDictionary<string, long> ViolationCounts { get; init; }

    /// <summary>Whether everything could be judged. A promise that was found broken is broken all the same.</summary>
    public required bool IsConclusive { get; init; }

    /// <summary>Why not everything could be judged. Null when it could.</summary>
    public string? WhyNot { get; init; }

    /// <summary>Number of times that each answer was given: "202", "409 sold_out", "0" for no answer.</summary>
    public required IReadOnlyDictionary<string, long> Answers { get; init; }

    /// <summary>Number of keys that were accepted.</summary>
    public required long Accepted { get; init; }

    /// <summary>Number of orders in Postgres, rejected ones included.</summary>
    public required long Orders { get; init; }

    /// <summary>Number of acceptances without an order in Postgres, where a loss was allowed.</summary>
    public required long Lost { get; init; }

    /// <summary>
    /// Number of keys with an outcome that no answer settled. It is reported here, because the shoppers never learnt
    /// it.
    /// </summary>
    public required long Unsettled { get; init; }

    /// <summary>Seconds from the first purchase to the last order in Postgres. 0 without orders.</summary>
    public required double PersistSeconds { get; init; }

    /// <summary>Orders stored in Postgres per second, end to end.</summary>
    public double PersistedPerSecond => PersistSeconds > 0 ? Orders / PersistSeconds : 0;

    /// <summary>Time from the beginning of the verdict until nothing was on its way.</summary>
    public required TimeSpan RestTook { get; init; }

    /// <summary>0: all promises were kept. 1: a promise is broken. 2: inconclusive.</summary>
    public int ExitCode => ViolationCounts.Count > 0 ? 1 : IsConclusive ? 0 : 2;
}

/// <summary>
/// The offline checker at the end of every run. It waits until nothing of the sale is on its way and reads both stores
/// with plain commands. Then it judges every answer of the history against them, as well as the product's own ledger.
/// </summary>
public static class Verdict
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    // An entry leaves the outbox only after Postgres has its orders. An order that is still in flight then, and stays
    // so, no longer moves.
    private static readonly TimeSpan StuckAfter = TimeSpan.FromSeconds(5);

    /// <summary>Judges a run.</summary>
    /// <param name="target">The product that it ran against.</param>
    /// <param name="sale">The sale of the run.</param>
    /// <param name="historyPath">The closed history of all purchase requests of all shoppers in that sale.</param>
    /// <param name="loss">The loss that the faults of the run may cause.</param>
    /// <param name="rest">How long to wait until nothing is on its way.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <param name="lossUntil">Time at which the fault was over, by <see cref="RunClock"/>. The fault cannot have cost
    /// later purchases.</param>
    public static async Task<VerdictResult> CheckAsync(Target target, LoadSale sale, string historyPath, Loss loss, TimeSpan rest, CancellationToken cancel, long lossUntil = long.MaxValue)
    {
        await using var postgres = NpgsqlDataSource.Create(ConnectionString(target.Postgres));
        await using var redis = new RedisClient(target.Redis, target.RedisPassword);
        var began = TimeProvider.System.GetTimestamp();
        var whyNot = await RestAsync(postgres, redis, sale.Id, rest, cancel);
        var restTook = TimeProvider.System.GetElapsedTime(began);
        await using var connection = await postgres.OpenConnectionAsync(cancel);
        var view = await BooksView.ReadAsync(connection, redis, sale.Id);
        var judge = Judge.Of(view, History.Read(historyPath), loss, lossUntil);
        var findings = new Findings();
        // No run sends anything that only an operator could decide, so a dead letter is a broken promise.
        if (view.DeadLetters.Count > 0) findings.Add("I3", $"{view.DeadLetters.Count} reservations became dead letters, such as {view.DeadLetters[0]}");
        // While orders still move, two reads of the stores do not fit together. Promised units and the units that users
        // hold do not depend on that.
        if (whyNot is not null) findings.AddRange(judge.Findings, except: ["I2", "I3"]);
        else
        {
            findings.AddRange(judge.Findings);
            findings.AddRange(Judge.OfLedger(view, await sale.LedgerAsync(cancel)));
        }
        return new VerdictResult
        {
            Violations = findings.Lines,
            ViolationCounts = findings.Counts,
            IsConclusive = whyNot is null,
            WhyNot = whyNot,
            Answers = judge.Answers,
            Accepted = judge.Accepted,
            Orders = view.Orders.Count,
            Lost = judge.Lost,
            Unsettled = judge.Unsettled,
            PersistSeconds = await PersistSecondsAsync(connection, sale.Id, judge.FirstStarted),
            RestTook = restTook,
        };
    }

    /// <summary>Waits until nothing of a sale is on its way.</summary>
    /// <returns>Null at rest. Otherwise a text with the orders and units that were still on their way when the time was
    /// over.</returns>
    public static async Task<string?> RestAsync(Target target, string saleId, TimeSpan deadline, CancellationToken cancel)
    {
        await using var postgres = NpgsqlDataSource.Create(ConnectionString(target.Postgres));
        await using var redis = new RedisClient(target.Redis, target.RedisPassword);
        return await RestAsync(postgres, redis, saleId, deadline, cancel);
    }

    /// <summary>Converts a libpq URI into a connection string without the product's help.</summary>
    /// <exception cref="ArgumentException">The URI has another form, several hosts, or a parameter other than sslmode
    /// and sslrootcert.</exception>
    public static string ConnectionString(string url)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Host.Contains(',', StringComparison.Ordinal))
            throw new ArgumentException("The URI of Postgres must be postgresql://user:password@host:port/database.", nameof(url));
        var user = uri.UserInfo.Split(':', 2);
        var connection = new NpgsqlConnectionStringBuilder
        {
            Host = uri.Host,
            Port = uri.Port > 0 ? uri.Port : 5432,
            Database = uri.AbsolutePath.Trim('/'),
            Username = Uri.UnescapeDataString(user[0]),
            Password = user.Length > 1 ? Uri.UnescapeDataString(user[1]) : null,
            MaxPoolSize = 4,
            Timeout = 5,
            CommandTimeout = 30,
        };
        foreach (var parameter in uri.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var name = parameter.Split('=')[0];
            var value = Uri.UnescapeDataString(parameter[(parameter.IndexOf('=', StringComparison.Ordinal) + 1)..]);
            if (name == "sslmode")
                connection.SslMode = Enum.Parse<SslMode>(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true);
            else if (name == "sslrootcert") connection.RootCertificate = value;
            // A parameter that demands TLS must not be dropped, and no other one may be either.
            else throw new ArgumentException($"The URI of Postgres has a parameter that is not taken here: {name}", nameof(url));
        }
        return connection.ConnectionString;
    }

    // Returns null at rest, or when nothing will ever move again. Otherwise it returns a text with the orders and units
    // still on their way. A store that is just coming back is asked again.
    private static async Task<string?> RestAsync(NpgsqlDataSource postgres, RedisClient redis, string saleId, TimeSpan deadline, CancellationToken cancel)
    {
        var began = TimeProvider.System.GetTimestamp();
        var stuck = new HashSet<Guid>();
        var stuckSince = began;
        for (var last = "nothing was read"; ; await Task.Delay(Interval, cancel))
        {
            try
            {
                var (outbox, moving, returns) = await LookAsync(postgres, redis, saleId);
                if (outbox == 0 && moving.Count == 0 && returns == 0) return null;
                last = $"{outbox} entries in the outbox, {moving.Count} orders in flight, {returns} returns of units";
                if (outbox > 0 || returns > 0 || !moving.SetEquals(stuck)) (stuck, stuckSince) = (moving, TimeProvider.System.GetTimestamp());
                else if (TimeProvider.System.GetElapsedTime(stuckSince) > StuckAfter) return null;
            }
            catch (Exception e) when (e is NpgsqlException or SocketException or IOException or OperationCanceledException or RedisErrorException && !cancel.IsCancellationRequested)
            {
                last = e.Message;
            }
            if (TimeProvider.System.GetElapsedTime(began) > deadline) return $"no rest within {deadline.TotalSeconds:0} s: {last}";
        }
    }

    private static async Task<(long Outbox, HashSet<Guid> Moving, long Returns)> LookAsync(NpgsqlDataSource postgres, RedisClient redis, string saleId)
    {
        var prefix = BooksView.RedisPrefix(saleId);
        // The outbox comes first. Reading more over and over would compete with the work that is awaited.
        var outbox = await redis.NumberAsync("XLEN", prefix + "outbox");
        if (outbox > 0) return (outbox, [], 0);
        await using var connection = await postgres.OpenConnectionAsync();
        var returns = await BooksView.PendingReturnsAsync(connection, saleId);
        if (await redis.NumberAsync("HLEN", prefix + "inflight") == 0) return (outbox, [], returns);
        var moving = (await BooksView.InflightAsync(redis, saleId)).Select(order => order.OrderId).ToHashSet();
        moving.ExceptWith(await BooksView.DeadLettersAsync(connection, saleId));
        return (outbox, moving, returns);
    }

    private static async Task<double> PersistSecondsAsync(NpgsqlConnection connection, string saleId, long firstStarted)
    {
        await using var command = new NpgsqlCommand("select (extract(epoch from max(placed_at)) * 1000000)::bigint from orders where sale_id = $1", connection);
        command.Parameters.AddWithValue(saleId);
        return await command.ExecuteScalarAsync() is long last ? (last - firstStarted) / 1_000_000.0 : 0;
    }
}
