using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Planning;
using FlashSale.UnitTests.Layout;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Computes the needs of an event from round figures.</summary>
public sealed class PlannerTests
{
    private static readonly Figures Round = new()
    {
        Source = "a machine", MeasuredCores = 2, AcceptedPerSecond = 16_000, PersistedPerSecond = 15_000, ApiMicrosecondsPerPurchase = 40, ApiMicrosecondsPerSoldOut = 20, RedisMicrosecondsPerPurchase = 20,
        RabbitMqMicrosecondsPerOrder = 2, WorkerMicrosecondsPerOrder = 10, PostgresMicrosecondsPerOrder = 20, RedisBytesPerOrder = 100, RedisBytesPerOrderInFlight = 400, PostgresBytesPerOrder = 1_000,
        ApiMegabytes = 200, ApiBytesPerConnection = 32_768, MeasuredConnections = 4_000,
    };

    private static readonly PlannedEvent Event = new(1_000_000, TimeSpan.FromSeconds(100), 20_000, Peak: 2, Attempts: 1, Pages: 1, Utilisation: 0.5, NodeCores: 4);

    [Fact]
    public void Rates_come_from_visitors_window_and_peak()
    {
        var plan = Planner.For(Event, Round);
        // On average 10,000 visitors come a second, at the peak twice that, with two requests each. The stock lasts a
        // second.
        Assert.Equal((40_000, 20_000, 1), (plan.RequestsPerSecond, plan.AcceptedPerSecond, plan.SellingSeconds));
        Assert.Equal(20_000 / 61.0, plan.PersistedPerSecond, 6);
        Assert.Empty(plan.Warnings);
    }

    [Fact]
    public void Api_nodes_follow_the_processor_time()
    {
        // Accepted 20,000 * 40 us + pages 20,000 * 20 us = 1.2 cores. With ten times the visitors and more stock Redis
        // accepts 25,000, and the others are refused.
        Assert.Equal(2, Node(Planner.For(Event with { NodeConnections = 1_000_000 }, Round), "Api").Nodes);
        var large = Event with { Visitors = 10_000_000, Stock = 1_000_000, NodeConnections = 100_000_000 };
        // 25,000 * 40 + 175,000 * 20 + 200,000 * 20 us = 8.5 cores. Each node has 2 usable ones.
        Assert.Equal(5, Node(Planner.For(large, Round), "Api").Nodes);
    }

    [Fact]
    public void Api_nodes_follow_the_connections_where_those_need_more() => Assert.Equal(50, Node(Planner.For(Event, Round), "Api").Nodes);

    [Fact]
    public void One_sale_is_bound_by_one_thread_of_redis_and_that_is_told()
    {
        var rush = Event with { Visitors = 5_000_000, Stock = 1_000_000 };
        var plan = Planner.For(rush, Round);
        Assert.Equal((25_000, 40), (plan.AcceptedPerSecond, plan.SellingSeconds));
        Assert.Contains("25,000 purchases a second of one sale", Assert.Single(plan.Warnings));
        Assert.Equal(2, Node(plan, "Redis").Nodes);
        var spread = Planner.For(rush with { Sales = 10 }, Round);
        Assert.Equal(100_000, spread.AcceptedPerSecond);
        Assert.Equal(8, Node(spread, "Redis").Nodes);
        Assert.Empty(spread.Warnings);
    }

    [Fact]
    public void Postgres_follows_what_must_be_stored_in_the_time_it_has()
    {
        var selling = Event with { Visitors = 100_000_000, Stock = 20_000_000, Sales = 100, Drain = TimeSpan.FromSeconds(1) };
        var plan = Planner.For(selling, Round);
        // 2,000,000 come a second at the peak. The stock is sold in 10 s and stored in 11: 1.8 million * 20 us = 36.4
        // cores. Only half of each core may be busy, so Postgres needs twice that.
        Assert.Equal(73, Node(plan, "Postgres").Cores);
        Assert.Contains(plan.Warnings, warning => warning.Contains("Postgres would need 73 cores", StringComparison.Ordinal));
        Assert.Equal(2, Node(Planner.For(selling with { Drain = TimeSpan.FromHours(1) }, Round), "Postgres").Cores);
    }

    [Fact]
    public void An_event_that_does_not_sell_out_says_so() =>
        Assert.Contains("not sold out", PlanCommand.Text(Event with { Stock = 5_000_000 }, Planner.For(Event with { Stock = 5_000_000 }, Round)));

    [Fact]
    public void The_text_names_every_component_and_lists_what_it_assumes()
    {
        var text = PlanCommand.Text(Event, Planner.For(Event, Round));
        Assert.All(["| Api", "| Worker", "| Redis", "| RabbitMQ", "| Postgres", "Assumed:\n- Measured: a machine", "at the peak 40,000 requests/s"], part => Assert.Contains(part, text));
    }

    [Theory]
    [InlineData("--window is missing", "--visitors", "5")]
    [InlineData("--visitors 0: must be a whole number from 1", "--visitors", "0")]
    [InlineData("--visitors 1.5: must be a whole number", "--visitors", "1.5")]
    [InlineData("--visitors x: must be", "--visitors", "x")]
    [InlineData("--visitors NaN: must be", "--visitors", "NaN")]
    [InlineData("--stock -1: must be a whole number from 1 to 1000000000", "--visitors", "5", "--window", "5", "--stock", "-1")]
    [InlineData("--utilisation 1: must be a number from 0.1 to 0.95", "--visitors", "5", "--window", "5", "--stock", "1", "--utilisation", "1")]
    [InlineData("--stock: its value is missing", "--stock")]
    [InlineData("unknown argument: --stok", "--stok", "5")]
    [InlineData("/no/such/file", "--visitors", "5", "--window", "5", "--stock", "1", "--figures", "/no/such/file")]
    public void A_wrong_argument_is_told_with_its_value_and_its_range(string told, params string[] args) =>
        Assert.Contains(told, Assert.Throws<UsageException>(() => PlanCommand.Plan(args)).Message);

    [Fact]
    public void The_committed_figures_are_read_and_a_run_can_refresh_them()
    {
        var figures = Figures.Load(Path.Combine(Repository.Root, "loadtests/results/figures.json"));
        var path = Path.GetTempFileName();
        try
        {
            figures.Save(path);
            PlanCommand.Refresh(["--figures", path, "acceptedPerSecond=17500.5", "source=another machine, a=b"]);
            Assert.Equal(figures with { AcceptedPerSecond = 17_500.5, Source = "another machine, a=b" }, Figures.Load(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData("acceptedPerSecond=0", "acceptedPerSecond 0: must be above 0")]
    [InlineData("acceptedPerSecond=x", "must be a number")]
    [InlineData("accepted=5", "must be NAME=VALUE, with a name of source")]
    [InlineData("accepted", "must be NAME=VALUE")]
    public void A_figure_that_makes_no_sense_is_refused(string assignment, string told) => Assert.Contains(told, Assert.Throws<UsageException>(() => Round.With([assignment])).Message);

    [Theory]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("""{"unknown": 1}""")]
    public void A_file_of_figures_that_lacks_some_is_refused(string json)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, json);
            Assert.Contains(path, Assert.Throws<UsageException>(() => Figures.Load(path)).Message);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static NodePlan Node(Plan plan, string component) => plan.Nodes.Single(node => node.Component == component);
}
