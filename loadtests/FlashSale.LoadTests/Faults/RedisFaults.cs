using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Faults;

/// <summary>Faults of a Redis that is full, forgets its scripts, or loses the end of its append-only file.</summary>
public static partial class RedisFaults
{
    private const int MostCut = 65_536;

    private static readonly TimeSpan FlushFor = TimeSpan.FromSeconds(6);

    public static IReadOnlyList<Row> Rows { get; } =
    [
        new("redis-full", "Redis at maxmemory for 6 s: it refuses to write")
        {
            Inject = async fault =>
            {
                var redis = Client(fault);
                var limit = (await redis.ListAsync("CONFIG", "GET", "maxmemory"))[1]!;
                var refused = await ErrorsAsync(redis, "OOM");
                fault.AtHeal(async () =>
                {
                    var more = await ErrorsAsync(redis, "OOM") - refused;
                    if (more > 0) fault.TookHold($"{more} calls were refused for memory");
                    await redis.CallAsync("CONFIG", "SET", "maxmemory", limit);
                    await redis.DisposeAsync();
                });
                await redis.CallAsync("CONFIG", "SET", "maxmemory", "1mb");
            },
            Lasts = TimeSpan.FromSeconds(6),
        },
        new("redis-script-flush", "SCRIPT FLUSH every 20 ms for 6 s")
        {
            Inject = async fault =>
            {
                await using var redis = Client(fault);
                var missed = await ErrorsAsync(redis, "NOSCRIPT");
                var flushes = 0;
                for (var clock = Stopwatch.StartNew(); clock.Elapsed < FlushFor; flushes++)
                {
                    await redis.CallAsync("SCRIPT", "FLUSH");
                    await Task.Delay(20);
                }
                var more = await ErrorsAsync(redis, "NOSCRIPT") - missed;
                if (more > 0) fault.TookHold($"{flushes} flushes, {more} calls found their script gone");
            },
        },
        new("redis-aof-cut", $"the worker stops for up to 2 s, then kill -9 of Redis, and up to {MostCut} bytes are cut off its append-only file: acceptances not yet in Postgres may be lost")
        {
            Loss = Loss.Acceptances,
            Inject = async fault =>
            {
                // The frozen worker makes sure that some acceptances are not in Postgres yet. Usually they get there
                // within 0.1 s.
                var worker = Processes.Freeze(ProcessFaults.Pid(fault, Part.Worker));
                fault.AtHeal(() => Task.Run(() => Processes.Thaw(worker)));
                await Task.Delay(fault.Random.Next(2_000));
                await Processes.KillAsync(ProcessFaults.Pid(fault, Part.Redis));
                var bytes = fault.Random.Next(1, MostCut);
                var left = Cut(fault.Stack.DataOf(Part.Redis), bytes);
                fault.TookHold($"{bytes} bytes cut off, {left} left");
            },
            Heal = fault => fault.Stack.StartAsync(Part.Redis),
        },
    ];

    internal static RedisClient Client(Fault fault) => new(fault.Target.Redis);

    private static long Cut(string folder, int bytes)
    {
        var path = Directory.EnumerateFiles(Path.Combine(folder, "appendonlydir"), "*.incr.aof").MaxBy(NumberOf)
            ?? throw new InconclusiveException($"there is no append-only file in {folder}.");
        using var file = File.Open(path, FileMode.Open, FileAccess.Write);
        if (file.Length <= bytes) throw new InconclusiveException($"{path} has only {file.Length} bytes.");
        file.SetLength(file.Length - bytes);
        return file.Length;
    }

    // The number of appendonly.aof.12.incr.aof is 12.
    private static int NumberOf(string log) => int.Parse(Path.GetFileName(log).Split('.')[^3], CultureInfo.InvariantCulture);

    // Redis reports, for example: errorstat_OOM:count=17
    private static async Task<long> ErrorsAsync(RedisClient redis, string error)
    {
        var told = ErrorCount().Matches(await redis.TextAsync("INFO", "errorstats") ?? "").FirstOrDefault(match => match.Groups["error"].Value == error);
        return told is null ? 0 : long.Parse(told.Groups["count"].Value, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"errorstat_(?<error>\w+):count=(?<count>\d+)", RegexOptions.NonBacktracking)]
    private static partial Regex ErrorCount();
}
