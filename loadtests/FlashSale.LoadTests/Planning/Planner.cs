namespace FlashSale.LoadTests.Planning;

/// <summary>An event to plan for, and the nodes to build it from.</summary>
/// <param name="Visitors">Number of visitors.</param>
/// <param name="Window">Time within which they come.</param>
/// <param name="Stock">Units on sale, all items together.</param>
/// <param name="Peak">The rate of the busiest moment as a multiple of the mean.</param>
/// <param name="Attempts">Purchases that each visitor sends.</param>
/// <param name="Pages">Other requests that each visitor sends to the Api.</param>
/// <param name="Sales">Number of sales over which the stock is spread.</param>
/// <param name="Drain">Time after the last unit is sold within which all orders are in Postgres. Null: 60 s.</param>
/// <param name="Utilisation">The share of a node's processors that may be busy at the peak.</param>
/// <param name="NodeCores">Cores of each Api and Worker node.</param>
/// <param name="NodeConnections">Connections of shoppers that one Api node holds.</param>
public sealed record PlannedEvent(
    double Visitors, TimeSpan Window, double Stock, double Peak = 5, double Attempts = 2, double Pages = 3, int Sales = 1, TimeSpan? Drain = null, double Utilisation = 0.6, int NodeCores = 4, int NodeConnections = 20_000);

/// <summary>The number of nodes of a component, their size and the reason for it.</summary>
public sealed record NodePlan(string Component, int Nodes, int Cores, double MemoryGigabytes, double DiskGigabytes, string Why);

/// <summary>The needs of an event.</summary>
/// <param name="RequestsPerSecond">All requests a second at the peak.</param>
/// <param name="AcceptedPerSecond">Purchases accepted a second at the peak, as far as stock and Redis go.</param>
/// <param name="SellingSeconds">Time until the last unit is sold. Infinite when more units than purchases come.</param>
/// <param name="PersistedPerSecond">Orders stored in Postgres a second.</param>
/// <param name="Nodes">The nodes of each component.</param>
/// <param name="Assumptions">Conditions under which the plan holds.</param>
/// <param name="Warnings">Problems that no number of nodes mends.</param>
public sealed record Plan(
    double RequestsPerSecond, double AcceptedPerSecond, double SellingSeconds, double PersistedPerSecond, IReadOnlyList<NodePlan> Nodes, IReadOnlyList<string> Assumptions, IReadOnlyList<string> Warnings);

/// <summary>
/// Computes the needs of an event from measured figures per purchase. Each component is sized by the processor time,
/// memory and disk that its share takes.
/// </summary>
public static class Planner
{
    // One node serves while the other one is dead.
    private const int LeastNodes = 2;

    private const double Gigabyte = 1 << 30;

    /// <summary>Returns the plan for an event.</summary>
    public static Plan For(PlannedEvent planned, Figures figures)
    {
        var warnings = new List<string>();
        var purchases = planned.Visitors * planned.Attempts;
        var orders = Math.Min(purchases, planned.Stock);
        var purchaseRate = purchases / planned.Window.TotalSeconds * planned.Peak;
        var pageRate = planned.Visitors * planned.Pages / planned.Window.TotalSeconds * planned.Peak;

        // A sale lives in one slot of Redis, and Redis works with one thread.
        var perSale = planned.Utilisation * 1e6 / figures.RedisMicrosecondsPerPurchase;
        var accepted = Math.Min(Math.Min(purchaseRate, orders), perSale * planned.Sales);
        if (accepted < Math.Min(purchaseRate, orders))
            warnings.Add($"Redis takes {perSale:N0} purchases a second of one sale; {purchaseRate:N0} come. The others of that moment are refused by load shedding and may come again; more than that is had only from more sales (--sales).");
        var selling = orders / accepted;
        var drain = planned.Drain ?? TimeSpan.FromSeconds(60);
        var persisted = orders / (selling + drain.TotalSeconds);
        var backlog = orders - persisted * selling;

        var api = Math.Max(
            accepted * figures.ApiMicrosecondsPerPurchase + (purchaseRate - accepted + pageRate) * figures.ApiMicrosecondsPerSoldOut,
            (purchaseRate + pageRate) * figures.ApiMicrosecondsPerSoldOut) / 1e6;
        // A shopper stays for a minute. So this many shoppers are connected at the same moment of the peak.
        var connections = planned.Visitors * Math.Min(1, 60 * planned.Peak / planned.Window.TotalSeconds);
        var (forWork, forConnections) = (NodesFor(api, planned), (int)Math.Ceiling(connections / planned.NodeConnections));
        var apiNodes = Math.Max(forWork, forConnections);
        var postgresCores = CoresFor(persisted * figures.PostgresMicrosecondsPerOrder / 1e6, planned.Utilisation);
        if (postgresCores > 32) warnings.Add($"Postgres would need {postgresCores} cores in one primary: more than can be promised from what was measured. Allow it more time (--drain).");
        var redisPrimaries = (int)Math.Min(planned.Sales, Math.Max(1, Math.Ceiling(accepted / perSale)));
        var redisBytes = (orders * figures.RedisBytesPerOrder + backlog * figures.RedisBytesPerOrderInFlight) / redisPrimaries;

        NodePlan[] nodes =
        [
            new("Api", apiNodes, planned.NodeCores, Memory(figures.ApiMegabytes * (1 << 20) + connections / apiNodes * figures.ApiBytesPerConnection), 0,
                $"{purchaseRate + pageRate:N0} requests/s, {accepted:N0} of them accepted: {api:0.00} cores busy, {forWork} nodes; {connections:N0} shoppers connected, {forConnections} nodes"),
            new("Redis", redisPrimaries * 2, 2, Memory(redisBytes * 2), Disk(redisBytes * 4),
                $"{redisPrimaries} with a replica each: {accepted * figures.RedisMicrosecondsPerPurchase / 1e6:0.00} cores busy in one thread each, the second for saving; {redisBytes / Gigabyte:0.00} GB of orders, twice that while its log is rewritten"),
            new("RabbitMQ", 3, 2, 4, Disk(backlog * 200),
                $"a quorum of three; {persisted * figures.RabbitMqMicrosecondsPerOrder / 1e6:0.00} cores busy"),
            new("Worker", NodesFor(persisted * figures.WorkerMicrosecondsPerOrder / 1e6, planned), planned.NodeCores, 2, 0,
                $"{persisted:N0} orders/s: {persisted * figures.WorkerMicrosecondsPerOrder / 1e6:0.00} cores busy; a second one takes over"),
            new("Postgres", LeastNodes, Math.Max(2, postgresCores), Memory(Math.Max(4 * Gigabyte, orders * figures.PostgresBytesPerOrder / 4)), Disk(orders * figures.PostgresBytesPerOrder * 3),
                $"a primary and a standby; {persisted:N0} orders/s: {persisted * figures.PostgresMicrosecondsPerOrder / 1e6:0.00} cores busy; {orders * figures.PostgresBytesPerOrder / Gigabyte:0.0} GB of orders, three times that with the log"),
        ];
        return new Plan(purchaseRate + pageRate, accepted, purchases < planned.Stock ? double.PositiveInfinity : selling, persisted, nodes, [.. Assumptions(planned, figures, drain)], warnings);
    }

    private static IEnumerable<string> Assumptions(PlannedEvent planned, Figures figures, TimeSpan drain) =>
    [
        $"Measured: {figures.Source}. There the whole product accepted {figures.AcceptedPerSecond:N0} and stored {figures.PersistedPerSecond:N0} orders/s on {figures.MeasuredCores} cores, the load generator among them; a core elsewhere does as much as one of those.",
        $"Processor time per purchase, microseconds: Api {figures.ApiMicrosecondsPerPurchase}, Redis {figures.RedisMicrosecondsPerPurchase}, Postgres {figures.PostgresMicrosecondsPerOrder}, Worker {figures.WorkerMicrosecondsPerOrder}, RabbitMQ {figures.RabbitMqMicrosecondsPerOrder}; an answer without Redis, Api {figures.ApiMicrosecondsPerSoldOut}. Work grows in proportion; a network between nodes adds latency, not work.",
        $"Each visitor sends {planned.Attempts} purchases and {planned.Pages} other requests, each of which costs as much as a sold-out answer; the busiest moment has {planned.Peak} times the mean rate; a shopper stays for a minute.",
        $"An Api node holds {planned.NodeConnections:N0} connections, as its Transport:MaxConnections must allow (20,000 by default; {figures.MeasuredConnections:N0} were measured). A proxy that keeps fewer to the Api needs fewer nodes: --connections.",
        $"Each order is of one unit. The stock is spread evenly over {planned.Sales} sale(s); one sale is never more than one Redis thread, and several Redis primaries are a Redis Cluster, which was not measured.",
        $"At the peak {planned.Utilisation:P0} of the processors are busy. Each component outlives the loss of one node, at a higher load meanwhile.",
        $"Postgres may lag behind, up to {drain.TotalSeconds:0} s after the last unit is sold; until then the backlog waits in Redis.",
        "TLS ends before the Api, and pictures and scripts of the shop come from elsewhere: neither is in the figures.",
    ];

    private static int NodesFor(double busyCores, PlannedEvent planned) => Math.Max(LeastNodes, (int)Math.Ceiling(busyCores / (planned.NodeCores * planned.Utilisation)));

    private static int CoresFor(double busyCores, double utilisation) => (int)Math.Ceiling(busyCores / utilisation);

    // Adds as much memory again for the system and its caches, and rounds up to a size that is sold.
    private static double Memory(double bytes) => Math.Pow(2, Math.Max(1, Math.Ceiling(Math.Log2(bytes * 2 / Gigabyte))));

    private static double Disk(double bytes) => Math.Max(10, Math.Ceiling(bytes / Gigabyte));
}
