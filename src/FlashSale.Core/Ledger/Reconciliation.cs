using System.Text.Json;
using Dapper;
using Npgsql;

namespace FlashSale.Ledger;

/// <summary>The results of the latest comparisons of a sale's books.</summary>
/// <param name="RunAt">When the books were last compared.</param>
/// <param name="RunsUnbalanced">
/// The number of runs in a row that found the same difference. A single run may see a passing moment.
/// </param>
/// <param name="Differences">Units per SKU, only for items with a difference.</param>
/// <param name="FullRunAt">When every order was last counted. Null if that never happened.</param>
/// <param name="Findings">The errors within Postgres that the last count of every order found, one line each.</param>
public sealed record ReconciliationReport(
    DateTimeOffset RunAt, int RunsUnbalanced, IReadOnlyDictionary<string, long> Differences, DateTimeOffset? FullRunAt, IReadOnlyList<string> Findings)
{
    /// <summary>A difference counts as real from this number of runs in a row.</summary>
    public const int RunsThatCount = 3;

    /// <summary>Whether the difference has stood long enough to be reported.</summary>
    public bool HasStood => RunsUnbalanced >= RunsThatCount;
}

/// <summary>
/// Compares the books again and again. A comparison from counters takes milliseconds, however many orders there are.
/// Counting every order takes seconds for a million orders. The table reconciliation keeps the results.
/// </summary>
public sealed class Reconciliation(NpgsqlDataSource postgres, LedgerReader ledger)
{
    private const int MostFindings = 100;

    // With more orders in flight, a comparison would block persistence when it has most to do.
    private const int MostInFlight = 50_000;

    /// <summary>Compares the books from counters, and tells how long a difference has stood.</summary>
    /// <returns>
    /// Null when no sale has this id, or when more than 50,000 orders are in flight. A later run compares the sale
    /// then.
    /// </returns>
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

    /// <summary>
    /// Counts every order of a sale, and compares the sums with the units sold and the users' quotas that Postgres
    /// keeps.
    /// </summary>
    /// <returns>The errors found, at most 100 lines.</returns>
    public async Task<IReadOnlyList<string>> CountAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync("set statement_timeout = '120s'");
        // A single statement sees the data of a single moment.
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

    /// <summary>Reads the last results. Null before the first comparison.</summary>
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
