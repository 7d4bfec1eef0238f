using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Connects to the replica once, so that a wrong URL is reported at start. Otherwise all reads would go to the primary,
/// and nobody would notice.
/// </summary>
internal sealed class ReplicaCheck([FromKeyedServices(Dependency.PostgresReplica)] NpgsqlDataSource replica)
    : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (true)
        {
            try
            {
                await using var connection = await replica.OpenConnectionAsync(stoppingToken);
                return;
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                if (Postgres.Misconfigured(e, "Postgres:ReplicaUrl") is { } refusal) HostRunner.End(refusal);
                await Task.Delay(Interval, stoppingToken);
            }
        }
    }
}
