using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>The code that all hosts share: they start, log, migrate and report wrong settings with it.</summary>
public static class HostRunner
{
    /// <summary>Exit code of a host that cannot start with its settings (sysexits' EX_CONFIG).</summary>
    public const int BadConfiguration = 78;

    private static int _isEnding;

    /// <summary>
    /// Builds and runs a host. <c>--healthcheck</c> asks the running host instead whether it is ready. <c>--check</c>
    /// only reports errors in the settings.
    /// </summary>
    /// <returns>The exit code: 0, <see cref="BadConfiguration"/>, or the answer of the health check.</returns>
    public static async Task<int> RunAsync(string[] args, Func<WebApplicationBuilder, Task<WebApplication>> build)
    {
        try
        {
            if (args is ["--healthcheck"]) return await Management.CheckHealthAsync(new ConfigurationBuilder().AddEnvironmentVariables().Build());
            var isCheck = args is ["--check"];
            var builder = WebApplication.CreateSlimBuilder(isCheck ? [] : args);
            Configure(builder.Logging);
            builder.AddManagementPort();
            builder.AddTransport();
            builder.Services.AddSingleton(TimeProvider.System);
            // The exporter must exist before anything that counts. It would not see a counter that was set to 0 before.
            using var metrics = new PrometheusExporter();
            builder.Services.AddSingleton(metrics);
            await using var app = await build(builder);
            if (isCheck)
            {
                app.Services.GetService<IStartupValidator>()?.Validate();
                return 0;
            }
            RejectedRequests.Answer(app);
            await app.RunAsync();
            return 0;
        }
        catch (Exception e) when (e is InvalidSettingException or OptionsValidationException)
        {
            await Console.Error.WriteLineAsync(Refusal(e));
            return BadConfiguration;
        }
    }

    /// <summary>
    /// Ends a host at once because a setting turned out wrong only when it was used. An orderly end would wait for work
    /// that must not be done with that setting. Work under way survives the end of any process anyway.
    /// </summary>
    public static void End(InvalidSettingException refusal)
    {
        if (Interlocked.Exchange(ref _isEnding, 1) == 1) return;
        Console.Error.WriteLine(Refusal(refusal));
        Environment.Exit(BadConfiguration);
    }

    private static string Refusal(Exception e) => $"The host cannot start: {e.Message}";

    private static void Configure(ILoggingBuilder logging)
    {
        logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.ColorBehavior = LoggerColorBehavior.Disabled;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
        });
        // A reader that is too slow for the log loses lines of it, and the log tells how many. The host goes on
        // selling.
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite);
        logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        // The activities and scopes of this logger cost more than a sold-out answer.
        logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
    }

    /// <summary>Adds the connection to Redis, section <c>Redis</c>.</summary>
    public static async Task AddRedisAsync(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<RedisOptions>(builder.Configuration, "Redis");
        // The client library would take any further text for options of its own, or for a part of the host's name.
        if (!Uri.TryCreate($"redis://{options.Endpoint}", UriKind.Absolute, out var uri) || uri.Port < 1
            || !string.Equals($"{uri.Host}:{uri.Port}", options.Endpoint, StringComparison.OrdinalIgnoreCase))
            throw new InvalidSettingException($"Redis:Endpoint = '{options.Endpoint}': allowed is host:port.");
        // The host does not exist yet, so its logger cannot be used.
        var logging = LoggerFactory.Create(Configure);
        var redis = await RedisConnection.ConnectAsync(options, logging.CreateLogger<RedisConnection>());
        builder.Services.AddSingleton(redis);
        builder.Services.AddSingleton(new ReadinessCheck("redis", () => redis.HasAnswered ? null : "no answer yet"));
        // This line is for people and does not make the host unready. Without Redis hosts still do all the work that
        // does not need it, and if they became unready, all of them would leave the load balancer at once.
        builder.Services.AddSingleton(new HealthLine(() => redis.SilentSince is { } since
            ? $"redis: does not answer since {since.ToUniversalTime():yyyy-MM-ddTHH:mm:ssZ}"
            : redis.IsHealthy ? "redis: answers" : "redis: answers, but takes no writes: it is a replica, or has not told its role yet"));
    }

    /// <summary>Adds the pool of connections to Postgres, section <c>Postgres</c>, and the migrations.</summary>
    public static void AddPostgres(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<PostgresOptions>(builder.Configuration, "Postgres");
        var name = builder.Environment.ApplicationName;
        // The host does not exist yet, so its logger cannot be used, but a URL that cannot be honoured must be reported
        // now.
        var logger = LoggerFactory.Create(Configure).CreateLogger(typeof(Postgres));
        builder.Services.AddSingleton(Postgres.CreateDataSource(options, name, logger));
        if (options.ReplicaUrl is { Length: > 0 })
        {
            var replica = Postgres.CreateReplicaSource(options, name, logger);
            builder.Services.AddKeyedSingleton(Dependency.PostgresReplica, replica);
            builder.Services.AddHostedService<ReplicaCheck>();
        }
        builder.ReplaceReadOnlySessions(static services => services.GetRequiredService<NpgsqlDataSource>());
        builder.Services.AddSingleton<Migrator>();
        builder.Services.AddSingleton<MigrateInBackground>();
        builder.Services.AddHostedService(services => services.GetRequiredService<MigrateInBackground>());
        Dapper.DefaultTypeMap.MatchNamesWithUnderscores = true;
    }

    /// <summary>
    /// Lets a pool replace its sessions once Postgres refuses a write to one of them, as after a failover.
    /// </summary>
    /// <param name="builder">The host.</param>
    /// <param name="pool">Finds the pool.</param>
    public static void ReplaceReadOnlySessions(this WebApplicationBuilder builder, Func<IServiceProvider, NpgsqlDataSource> pool) =>
        builder.Services.AddSingleton<IHostedService>(services => new ReadOnlySessions(pool(services), services.GetRequiredService<ILogger<ReadOnlySessions>>()));

    /// <summary>
    /// Makes the host ready only once the schema is up to date. The Api does not call this, because it sells with
    /// Postgres away.
    /// </summary>
    public static void RequireSchema(this WebApplicationBuilder builder) => builder.Services.AddSingleton(services =>
    {
        var migrations = services.GetRequiredService<MigrateInBackground>();
        return new ReadinessCheck("schema", () => migrations.Missing);
    });
}
