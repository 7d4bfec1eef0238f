using static FlashSale.LoadTests.Faults.ProxyMode;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Faults of the network between the hosts and a server, or between shoppers and the Api. The Worker has no row,
/// because no client calls it.
/// </summary>
public static class NetworkFaults
{
    private static readonly Part[] Parts = [Part.Api, Part.Redis, Part.RabbitMq, Part.Postgres];

    public static IReadOnlyList<Row> Rows { get; } =
    [
        .. Parts.Select(part => Of(part, Blackhole, $"nothing passes between {Callers(part)} and {part} for 6 s; it arrives after")),
        .. Parts.Select(part => Of(part, Reset, $"connections of {Callers(part)} to {part} are reset for 6 s, new ones at once")),
        .. Parts.Select(part => Of(part, Latency, $"200 ms more per round trip of {Callers(part)} to {part} for 6 s")),
    ];

    private static string Callers(Part part) => part == Part.Api ? "shoppers" : "the hosts";

    private static Row Of(Part part, ProxyMode mode, string what) => new($"{mode.ToString().ToLowerInvariant()}-{part.Name}", what)
    {
        Prepare = fault =>
        {
            if (part == Part.Api) fault.Apis = [fault.Stack.ProxiedApi];
            return Task.CompletedTask;
        },
        Inject = fault =>
        {
            fault.Stack.ProxyOf(part).Set(mode);
            return Task.CompletedTask;
        },
        Lasts = TimeSpan.FromSeconds(6),
        Heal = fault =>
        {
            var proxy = fault.Stack.ProxyOf(part);
            if (proxy.Hits > 0) fault.TookHold($"{proxy.Hits} {(mode == Reset ? "connections were reset" : "pieces were held back")}");
            proxy.Set(Pass);
            return Task.CompletedTask;
        },
    };
}
