using Dapper;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>
/// A heartbeat of the primary of Postgres. One statement counts it and reads its members, so all of them come from the
/// same server.
/// </summary>
/// <param name="System">
/// The cluster's identifier, made by initdb. Data that was dumped and restored has another one.
/// </param>
/// <param name="Timeline">The timeline. Every promotion and every recovery to a point in time raises it.</param>
/// <param name="Lineage">A random id of the data. It changes after every restore that a worker noticed.</param>
/// <param name="Count">The number of beats so far. Every beat adds 1.</param>
/// <param name="PreviousAt">
/// When the beat before this one was counted. Redis TIME in Unix milliseconds, 0 before the first beat.
/// </param>
/// <param name="Position">Position in the write-ahead log, in bytes.</param>
/// <param name="SaleNumber">The last sale number that Postgres gave.</param>
/// <param name="Standbys">The number of standbys that stream from the primary.</param>
public sealed record PostgresBeat(
    string System, int Timeline, Guid Lineage, long Count, long PreviousAt, long Position, int SaleNumber, int Standbys)
{
    /// <summary>Counts a beat. The beat exists only if the caller commits.</summary>
    /// <param name="transaction">The caller's transaction.</param>
    /// <param name="now">Redis TIME in Unix milliseconds, read before the transaction began.</param>
    /// <param name="newLineage">
    /// True after a restore: the data gets a new lineage, which tells it from the data before.
    /// </param>
    /// <param name="cancellation">Ends the query.</param>
    public static Task<PostgresBeat> CountAsync(
        NpgsqlTransaction transaction, long now, bool newLineage, CancellationToken cancellation) =>
        transaction.Connection!.QuerySingleAsync<PostgresBeat>(new CommandDefinition("""
            update postgres_beat
            set beat = beat + 1, previous_at = at, at = @now, lineage = case when @newLineage then gen_random_uuid() else lineage end
            returning (select system_identifier::text from pg_control_system()) as "System",
                      ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int as "Timeline",
                      lineage as "Lineage", beat as "Count", previous_at as "PreviousAt",
                      pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint as "Position",
                      (select last_value from sale_number)::int as "SaleNumber",
                      (select count(*) from pg_stat_replication)::int as "Standbys"
            """, new { now, newLineage }, transaction, cancellationToken: cancellation));
}

/// <summary>The last heartbeat that a worker saw, as Redis remembers it.</summary>
/// <param name="System">
/// The cluster's identifier of that beat. See <see cref="PostgresBeat"/> for this parameter and the next four.
/// </param>
/// <param name="Timeline">The timeline of that beat.</param>
/// <param name="Lineage">The lineage of that beat.</param>
/// <param name="Count">The number of that beat.</param>
/// <param name="Position">The position of that beat.</param>
/// <param name="SaleNumber">The highest sale number that any worker ever saw.</param>
/// <param name="At">When the beat was counted, Redis TIME in Unix milliseconds.</param>
/// <param name="KeptSince">
/// Since when all workers keep the packs that they settle, Redis TIME in Unix milliseconds. Null while they do not.
/// </param>
public sealed record SeenPostgres(
    string System, int Timeline, Guid Lineage, long Count, long Position, int SaleNumber, long At, long? KeptSince);

/// <summary>The meaning of a heartbeat, compared with the last one seen.</summary>
public enum PostgresFinding
{
    /// <summary>The beat comes from the same server, and the server has lost nothing.</summary>
    Same,

    /// <summary>
    /// A standby was promoted. It may lack commits made after the last beat that it holds. Redis has kept the orders of
    /// those commits.
    /// </summary>
    Failover,

    /// <summary>
    /// The server was the primary before a failover and still takes writes, while other workers use the new primary.
    /// </summary>
    LeftBehind,

    /// <summary>The server has other data, or earlier data. Nobody can tell which commits it lacks.</summary>
    Restored,
}

/// <summary>Tells a failover of Postgres from a restore.</summary>
public static class PostgresLineage
{
    /// <summary>
    /// How long after a beat of a later timeline a server of an earlier timeline counts as left behind.
    /// </summary>
    private const long LeftBehindMilliseconds = 10_000;

    /// <summary>Judges a beat before its transaction is committed.</summary>
    /// <param name="seen">
    /// The beat that Redis remembers, read before this beat was counted. Null when Redis remembers none.
    /// </param>
    /// <param name="beat">The beat to judge.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    /// <param name="keepMilliseconds">How long before the last beat settled packs are kept.</param>
    public static PostgresFinding Judge(SeenPostgres? seen, PostgresBeat beat, long now, long keepMilliseconds)
    {
        if (seen is null) return PostgresFinding.Same;
        if (beat.System != seen.System || beat.Lineage != seen.Lineage) return PostgresFinding.Restored;
        if (beat.Timeline < seen.Timeline)
            return now - seen.At < LeftBehindMilliseconds ? PostgresFinding.LeftBehind : PostgresFinding.Restored;
        if (beat.Timeline == seen.Timeline)
            return beat.Count > seen.Count && beat.Position >= seen.Position ? PostgresFinding.Same : PostgresFinding.Restored;
        // A new primary that holds the last seen beat (its count is higher) can lack only commits made after it. If it
        // lacks beats too, it also lacks the commits between them, so Redis must have kept packs for all that time.
        var isKept = seen.KeptSince <= beat.PreviousAt && seen.At - beat.PreviousAt <= keepMilliseconds;
        return isKept || beat.Count > seen.Count ? PostgresFinding.Failover : PostgresFinding.Restored;
    }
}
