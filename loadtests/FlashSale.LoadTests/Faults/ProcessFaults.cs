namespace FlashSale.LoadTests.Faults;

/// <summary>Faults of processes that die or freeze.</summary>
public static class ProcessFaults
{
    private static readonly Part[] Parts = [Part.Api, Part.Worker, Part.Redis, Part.RabbitMq, Part.Postgres];
    private static readonly Part[] Servers = [Part.Redis, Part.RabbitMq, Part.Postgres];

    public static IReadOnlyList<Row> Rows { get; } =
    [
        .. Parts.Select(Kill),
        .. Parts.Select(Freeze),
        RestartEverything,
    ];

    private static Row RestartEverything => new("restart-everything", "kill -9 of all hosts and all servers at once; the servers are started again")
    {
        Inject = async fault =>
        {
            var killed = await Task.WhenAll(Parts.Append(Part.Admin).Select(part => KillAsync(fault, part)));
            fault.TookHold($"{killed.Sum()} processes died");
        },
        Heal = async fault =>
        {
            await Task.WhenAll(Servers.Select(fault.Stack.StartAsync));
            await fault.Stack.ReadyAsync(TimeSpan.FromSeconds(90));
        },
    };

    // The supervisor of a host starts it again 0.2 s later.
    private static Row Kill(Part part) => new($"kill-{part.Name}", $"kill -9 of {part}{(Servers.Contains(part) ? "; started again up to 2 s later" : "; its supervisor starts it again")}")
    {
        Inject = async fault => fault.TookHold($"{await KillAsync(fault, part)} processes died"),
        Lasts = TimeSpan.FromSeconds(Servers.Contains(part) ? 2 : 0),
        LastsAtRandom = true,
        Heal = fault => Servers.Contains(part) ? fault.Stack.StartAsync(part) : Task.CompletedTask,
    };

    private static Row Freeze(Part part) => new($"freeze-{part.Name}", $"SIGSTOP of {part} for 10 s: connections stay, nothing is answered")
    {
        Inject = fault =>
        {
            var frozen = Processes.Freeze(Pid(fault, part));
            fault.AtHeal(() =>
            {
                if (frozen.All(Processes.IsFrozen)) fault.TookHold($"{frozen.Length} processes were stopped to the end");
                Processes.Thaw(frozen);
                return Task.CompletedTask;
            });
            return Task.CompletedTask;
        },
        Lasts = TimeSpan.FromSeconds(10),
    };

    private static Task<int> KillAsync(Fault fault, Part part) => Processes.KillAsync(Pid(fault, part));

    internal static int Pid(Fault fault, Part part) =>
        fault.Stack.PidOf(part) is var pid and > 0 && Processes.IsAlive(pid) ? pid : throw new InconclusiveException($"{part} was not running.");

    extension(Part part)
    {
        /// <summary>The part as it appears in the names of rows.</summary>
        internal string Name => part.ToString().ToLowerInvariant();
    }
}
