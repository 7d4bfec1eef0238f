using static FlashSale.LoadTests.Faults.ProxyMode;

namespace FlashSale.LoadTests.Faults;

/// <summary>The network between the hosts and a server.</summary>
public static class NetworkFaults
{
    private static readonly Part[] Servers = [Part.Redis, Part.RabbitMq, Part.Postgres];

    public static IReadOnlyList<Row> Rows { get; } =
    [
        .. Servers.Select(server => Of(server, Blackhole, $"nothing passes between the hosts and {server} for 6 s; it arrives after")),
        .. Servers.Select(server => Of(server, Reset, $"connections to {server} are reset for 6 s, new ones at once")),
        .. Servers.Select(server => Of(server, Latency, $"200 ms more per round trip to {server} for 6 s")),
    ];

    private static Row Of(Part server, ProxyMode mode, string what) => new($"{mode.ToString().ToLowerInvariant()}-{server.Name}", what)
    {
        Inject = fault =>
        {
            fault.Stack.ProxyOf(server).Set(mode);
            return Task.CompletedTask;
        },
        Lasts = TimeSpan.FromSeconds(6),
        Heal = fault =>
        {
            var proxy = fault.Stack.ProxyOf(server);
            if (proxy.Hits > 0) fault.TookHold($"{proxy.Hits} {(mode == Reset ? "connections were reset" : "pieces were held back")}");
            proxy.Set(Pass);
            return Task.CompletedTask;
        },
    };
}
