using Dapper;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>A heartbeat as the primary counted it, in the statement that counted it: no other server is asked.</summary>
/// <param name="System">The cluster's identifier, made by initdb: another one for data that was dumped and restored.</param>
/// <param name="Timeline">Raised by every promotion and every recovery to a point in time.</param>
/// <param name="Lineage">Another one after every restore that was noticed.</param>
/// <param name="Count">Counted up by every beat.</param>
/// <param name="PreviousAt">When the beat before this one was counted, Redis TIME in Unix milliseconds; 0 before the first.</param>
/// <param name="Position">Position in the write-ahead log, in bytes.</param>
/// <param name="SaleNumber">The last sale number that was given.</param>
/// <param name="Standbys">How many standbys stream from the primary.</param>
public sealed record PostgresBeat(
    string System, int Timeline, Guid Lineage, long Count, long PreviousAt, long Position, int SaleNumber, int Standbys)
{
    /// <summary>Counts a beat. It counts only if the caller commits.</summary>
    /// <param name="transaction">Whose end decides.</param>
    /// <param name="now">Redis TIME, Unix milliseconds, read before the transaction began.</param>
    /// <param name="newLineage">Whether the data is that of a restore, to be told from what was there before.</param>
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

/// <summary>What Redis remembers of the last heartbeat that was seen.</summary>
/// <param name="System">See <see cref="PostgresBeat"/>, as the four that follow.</param>
/// <param name="Timeline">Of that beat.</param>
/// <param name="Lineage">Of that beat.</param>
/// <param name="Count">Of that beat.</param>
/// <param name="Position">Of that beat.</param>
/// <param name="SaleNumber">The highest sale number that was ever seen.</param>
/// <param name="At">When the beat was counted, Redis TIME in Unix milliseconds.</param>
/// <param name="KeptSince">Since when all workers keep what they settle; null when they do not.</param>
public sealed record SeenPostgres(
    string System, int Timeline, Guid Lineage, long Count, long Position, int SaleNumber, long At, long? KeptSince);

/// <summary>What a heartbeat says about Postgres, beside the last one that was seen.</summary>
public enum PostgresFinding
{
    /// <summary>The same server, and it goes on.</summary>
    Same,

    /// <summary>A standby was promoted. Commits after the last beat that it holds may be missing in it; what they stored is kept in Redis.</summary>
    Failover,

    /// <summary>A server that was the primary before a failover and still takes writes, while others have the new one.</summary>
    LeftBehind,

    /// <summary>Other data, or earlier data: nobody knows what is missing.</summary>
    Restored,
}

/// <summary>Tells a failover from a restore.</summary>
public static class PostgresLineage
{
    /// <summary>For how long a server of an earlier timeline counts as left behind, after a beat of the later one.</summary>
    private const long LeftBehindMilliseconds = 10_000;

    /// <summary>Judges a beat that was not committed yet.</summary>
    /// <param name="seen">What Redis remembers, read before the beat was counted; null when it remembers nothing.</param>
    /// <param name="beat">The beat.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    /// <param name="keepMilliseconds">For how long, up to the last beat, settled reservations are kept.</param>
    public static PostgresFinding Judge(SeenPostgres? seen, PostgresBeat beat, long now, long keepMilliseconds)
    {
        if (seen is null) return PostgresFinding.Same;
        if (beat.System != seen.System || beat.Lineage != seen.Lineage) return PostgresFinding.Restored;
        if (beat.Timeline < seen.Timeline)
            return now - seen.At < LeftBehindMilliseconds ? PostgresFinding.LeftBehind : PostgresFinding.Restored;
        if (beat.Timeline == seen.Timeline)
            return beat.Count > seen.Count && beat.Position >= seen.Position ? PostgresFinding.Same : PostgresFinding.Restored;
        // Where no beat is missing, at most the commits since the last one are. Where some are, so are the commits between them.
        var isKept = seen.KeptSince <= beat.PreviousAt && seen.At - beat.PreviousAt <= keepMilliseconds;
        return isKept || beat.Count > seen.Count ? PostgresFinding.Failover : PostgresFinding.Restored;
    }
}
