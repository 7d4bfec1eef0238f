using System.Text.Json;
using Dapper;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>How the books of a sale have stood lately.</summary>
/// <param name="RunAt">When they were compared.</param>
/// <param name="RunsUnbalanced">In how many runs in a row the same difference stood; one run may see a moment that passes.</param>
/// <param name="Differences">Units per sku, those that are not 0.</param>
/// <param name="FullRunAt">When every order was counted; null when they never were.</param>
/// <param name="Findings">What that count found wrong within Postgres.</param>
public sealed record ReconciliationReport(
    DateTimeOffset RunAt, int RunsUnbalanced, IReadOnlyDictionary<string, long> Differences, DateTimeOffset? FullRunAt, IReadOnlyList<string> Findings)
{
    /// <summary>From how many runs on a difference is real.</summary>
    public const int RunsThatCount = 3;

    /// <summary>Whether a difference has stood long enough to be told.</summary>
    public bool HasStood => RunsUnbalanced >= RunsThatCount;
}

/// <summary>
/// Compares the books, again and again: from counters, which takes milliseconds however many orders there are, and by
/// counting every order, which takes seconds for a million. Results are kept in the table reconciliation.
/// </summary>
public sealed class Reconciliation(NpgsqlDataSource postgres, LedgerReader ledger)
{
    private const int MostFindings = 100;

    // With more orders in flight a comparison would keep persistence waiting when it has most to do.
    private const int MostInFlight = 50_000;

    /// <summary>Compares from counters, and says how long a difference has stood.</summary>
    /// <returns>Null when there is no such sale, or too much is in flight: it is compared when there is less.</returns>
    public async Task<ReconciliationReport?> RunAsync(string saleId, CancellationToken cancellation)
    {
        if (await ledger.InFlightAsync(saleId) > MostInFlight) return null;
        if (await ledger.ReadAsync(saleId, cancellation) is not { } books) return null;
        var differences = books.Items.Where(item => item.Difference != 0).ToDictionary(item => item.Sku, item => item.Difference, StringComparer.Ordinal);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition("""
            insert into reconciliation as r (sale_id, run_at, runs_unbalanced, differences)
            values (@saleId, now(), case @json::jsonb when '{}' then 0 else 1 end, @json::jsonb)
            on conflict (sale_id) do update set run_at = excluded.run_at, differences = excluded.differences,
                runs_unbalanced = case when excluded.differences = '{}' then 0 when excluded.differences = r.differences then r.runs_unbalanced + 1 else 1 end
            """, new { saleId, json = JsonSerializer.Serialize(differences) }, cancellationToken: cancellation));
        return await LastAsync(saleId, cancellation);
    }

    /// <summary>Counts every order of a sale and compares with what is kept about them: units sold, and users' quotas.</summary>
    /// <returns>What is wrong, a hundred lines at most.</returns>
    public async Task<IReadOnlyList<string>> CountAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync("set statement_timeout = '120s'");
        // One statement, and so one moment.
        var findings = (await connection.QueryAsync<string>(new CommandDefinition("""
            with live as materialized (
                select user_id, sku, sum(quantity)::bigint as units from orders
                where sale_id = @saleId and status in ('pending_payment', 'paid') group by user_id, sku),
            quota as (select user_id, sku, (units - kept)::bigint as units from user_quota where sale_id = @saleId),
            expected as (
                select user_id, sku, units from live
                union all
                select l.user_id, '', sum(l.units)::bigint from live l join sale s on s.sale_id = @saleId and s.per_user_limit is not null group by l.user_id)
            select format('%s: sold says %s, orders hold %s', i.sku, i.sold, coalesce(l.units, 0))
            from sale_item i left join (select sku, sum(units)::bigint as units from live group by sku) l using (sku)
            where i.sale_id = @saleId and i.sold <> coalesce(l.units, 0)
            union all
            select format('%s, %s: the quota says %s, orders hold %s', user_id, case sku when '' then 'the sale' else sku end, coalesce(q.units, 0), coalesce(e.units, 0))
            from quota q full join expected e using (user_id, sku)
            where coalesce(q.units, 0) <> coalesce(e.units, 0)
            limit @MostFindings
            """, new { saleId, MostFindings }, cancellationToken: cancellation))).AsList();
        await connection.ExecuteAsync("""
            insert into reconciliation (sale_id, run_at, runs_unbalanced, differences, full_run_at, findings)
            values (@saleId, now(), 0, '{}', now(), @json::jsonb)
            on conflict (sale_id) do update set full_run_at = excluded.full_run_at, findings = excluded.findings
            """, new { saleId, json = JsonSerializer.Serialize(findings) });
        return findings;
    }

    /// <summary>The last results; null before the first.</summary>
    public async Task<ReconciliationReport?> LastAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var row = await connection.QuerySingleOrDefaultAsync<(DateTime RunAt, int RunsUnbalanced, string Differences, DateTime? FullRunAt, string Findings)?>(new CommandDefinition("""
            select run_at, runs_unbalanced, differences::text, full_run_at, findings::text from reconciliation where sale_id = @saleId
            """, new { saleId }, cancellationToken: cancellation));
        return row is not { } last ? null : new ReconciliationReport(new DateTimeOffset(last.RunAt), last.RunsUnbalanced,
            JsonSerializer.Deserialize<Dictionary<string, long>>(last.Differences)!, last.FullRunAt is { } at ? new DateTimeOffset(at) : null,
            JsonSerializer.Deserialize<List<string>>(last.Findings)!);
    }
}
