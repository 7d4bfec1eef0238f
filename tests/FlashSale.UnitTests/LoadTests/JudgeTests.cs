using FlashSale.LoadTests.Verdicts;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>The judge names each promise that a test breaks by hand, and no promise of a sale in order.</summary>
public sealed class JudgeTests
{
    private const string Phone = "phone-1";
    private const string Cable = "cable-1";

    [Fact]
    public void A_sale_in_order_breaks_no_promise()
    {
        var judge = new Case().Judge();
        Assert.Empty(judge.Findings.Lines);
        Assert.Equal((4, 0, 0), (judge.Accepted, judge.Unsettled, judge.Lost));
        Assert.Equal(2, judge.Answers["409 sold_out"]);
    }

    public static TheoryData<string, string, Action<Case>> Violations => new()
    {
        { "I1", "sold 11", c => c.Items[0] = c.Items[0] with { Sold = 11 } },
        { "I1", "-1 remain", c => c.Remaining[Phone] = -1 },
        { "I1", "were promised, the stock is 10", c => Each(11, i => c.History.Add(Accepted($"extra-{i}")), i => c.Orders.Add(Order($"extra-{i}") with { Status = "rejected", IsClosed = true })) },
        { "I2", "live orders hold", c => c.Items[0] = c.Items[0] with { Sold = 5 } },
        { "I2", "remaining 9", c => c.Remaining[Phone]++ },
        { "I2", "Redis has no stock", c => c.Remaining.Remove(Phone) },
        { "I2", "Redis counts 1 units in flight", c => c.InflightUnits[Phone] = 1 },
        { "I2", "the outbox is empty", c => c.Inflight.Add(new InflightRow(Id("lost"), Phone, 1)) },
        { "I3", "not in Postgres", c => c.History.Add(Accepted("lost")) },
        { "I3", "which was rejected", c => c.Orders[0] = c.Orders[0] with { Status = "rejected", IsClosed = true } },
        { "I3", "became", c => c.Orders[0] = c.Orders[0] with { Quantity = 2 } },
        { "I3", "became", c => c.Orders[0] = c.Orders[0] with { UserId = "somebody-else" } },
        { "I4", "holds 3 of", c => c.Orders[0] = c.Orders[0] with { Quantity = 3 } },
        { "I4", "holds 4, the sale's limit is 3", c => c.Buy("a", Cable, 3) },
        { "I4", "the quota says 0", c => c.Quotas.RemoveAt(0) },
        { "I4", "without an order", c => c.Quotas.Add(new QuotaRow("nobody", Phone, 1, 2)) },
        { "I4", "2 orders for", c => c.Orders.Add(c.Orders[0] with { OrderId = Id("second") }) },
        { "I4", "was promised 3 of", c => Each(2, i => c.History.Add(Accepted("a", $"more-{i}"))) },
        { "I4", "was promised 4, the sale's limit is 3", c => c.History.Add(Accepted("a", "more", Cable, 3)) },
        { "I4", "was given to two keys", c => c.History.Add(Accepted("a") with { Key = "another" }) },
        { "I5", "different answers", c => c.History.Add(Accepted("a") with { IsReplay = true, BodyHash = 1 }) },
        { "I5", "not marked as replays", c => c.History.Add(Accepted("a")) },
        { "I5", "and then answered 409 sold_out", c => c.History.Add(Refused("a", "sold_out") with { StartedMicroseconds = 5_000 }) },
        { "I5", "and then answered 422", c => c.History.Add(Refused("a", "idempotency_key_reused", 422) with { StartedMicroseconds = 5_000 }) },
        { "I6", "should have", c => c.Orders[0] = c.Orders[0] with { Status = "cancelled", IsClosed = true, IsPaid = true, Returns = 1 } },
        { "I6", "should have", c => c.Orders[0] = c.Orders[0] with { Payments = 1 } },
        { "I6", "is not refunded", c => c.Orders[0] = c.Orders[0] with { Status = "refunded", IsPaid = true, IsClosed = true, Payments = 1, Returns = 1 } },
        { "I7", "told otherwise", c => c.Buy("refused", Phone, 1, isTold: false) },
        { "I7", "told otherwise", c => { c.Buy("told", Phone, 1, isTold: false); c.History.Add(Refused("told", "overloaded", 503)); } },
        { "I7", "was settled as sold_out", c => { c.Buy("settled", Phone, 1, isTold: false); c.History.Add(Unknown("settled")); c.History.Add(Refused("settled", "sold_out") with { StartedMicroseconds = 5_000 }); } },
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public void A_broken_promise_is_named(string promise, string what, Action<Case> violate)
    {
        var broken = new Case();
        violate(broken);
        var judge = broken.Judge();
        Assert.Contains(judge.Findings.Lines, line => line.StartsWith(promise + ": ", StringComparison.Ordinal) && line.Contains(what, StringComparison.Ordinal));
        Assert.True(judge.Findings.Counts[promise] > 0);
    }

    [Fact]
    public void A_loss_that_is_allowed_is_counted_and_no_violation()
    {
        var lost = new Case();
        lost.History.Add(Accepted("lost"));
        var judge = lost.Judge(Loss.Acceptances);
        Assert.Empty(judge.Findings.Lines);
        Assert.Equal(1, judge.Lost);
        // The fault cannot have cost a purchase that began after its end.
        Assert.Contains("not in Postgres", Assert.Single(lost.Judge(Loss.Acceptances, lossUntil: lost.History[^1].StartedMicroseconds - 1).Findings.Lines));

        var rejected = new Case();
        rejected.History.Add(Accepted("late"));
        rejected.Orders.Add(Order("late") with { Status = "rejected", IsClosed = true });
        Assert.Empty(rejected.Judge(Loss.Rejections).Findings.Lines);
        Assert.NotEmpty(rejected.Judge().Findings.Lines);
    }

    [Fact]
    public void An_unknown_outcome_is_settled_by_an_answer_that_was_asked_for_later()
    {
        var unsettled = new Case();
        unsettled.History.Add(Unknown("x"));
        Assert.Equal(1, unsettled.Judge().Unsettled);
        // Neither an answer that was asked for before nor one that decides nothing settles the outcome.
        unsettled.History.Add(Refused("x", "sold_out") with { StartedMicroseconds = 0 });
        unsettled.History.Add(Refused("x", "overloaded", 503) with { StartedMicroseconds = 5_000 });
        Assert.Equal(1, unsettled.Judge().Unsettled);
        unsettled.History.Add(Refused("x", "purchase_limit_reached") with { StartedMicroseconds = 5_000 });
        Assert.Equal(0, unsettled.Judge().Unsettled);
        unsettled.History.Add(new Told(0, 0, "never-sent", "k", Phone, 1, 0, Told.NothingSent, Guid.Empty, false, 0));
        Assert.Equal(0, unsettled.Judge().Unsettled);
    }

    [Fact]
    public void Units_that_went_back_may_be_promised_again()
    {
        var resold = new Case();
        for (var i = 0; i < 20; i++)
        {
            resold.History.Add(Accepted($"gone-{i}"));
            resold.Orders.Add(Order($"gone-{i}") with { Status = "expired", IsClosed = true, Returns = 1 });
        }
        Assert.Empty(resold.Judge().Findings.Lines);
    }

    [Fact]
    public void All_violations_are_counted_and_the_first_are_told()
    {
        var lost = new Case();
        Each(100, i => lost.History.Add(Accepted($"lost-{i}") with { Quantity = 0 }));
        var findings = lost.Judge().Findings;
        Assert.Equal(100, findings.Counts["I3"]);
        Assert.Equal(30, findings.Lines.Count(line => line.StartsWith("I3", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Two_hundred_thousand_orders_of_ten_thousand_items_are_judged_in_seconds()
    {
        var large = new Case { Items = [.. Enumerable.Range(0, 10_000).Select(i => new ItemRow($"sku-{i}", 20, 20, 1))], Orders = [], Quotas = [], History = [] };
        large.Remaining.Clear();
        foreach (var item in large.Items) large.Remaining[item.Sku] = 0;
        for (var i = 0; i < 200_000; i++)
        {
            var sku = $"sku-{i % 10_000}";
            large.Orders.Add(Order($"user-{i}", sku: sku));
            large.Quotas.Add(new QuotaRow($"user-{i}", sku, 1, 1));
            large.History.Add(Accepted($"user-{i}", sku: sku));
        }
        var judging = Task.Run(() => large.Judge());
        Assert.Empty((await judging.WaitAsync(TimeSpan.FromSeconds(30))).Findings.Lines);
    }

    private static void Each(int count, params Action<int>[] actions)
    {
        for (var i = 0; i < count; i++)
        {
            foreach (var act in actions) act(i);
        }
    }

    private static Guid Id(string text) => new(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(text)).AsSpan(0, 16));

    private static OrderRow Order(string user, string key = "k", string sku = Phone, int quantity = 1) =>
        new(Id(user + key), sku, user, key, quantity, "pending_payment", IsPaid: false, IsClosed: false, Payments: 0, Refunds: 0, Returns: 0);

    private static Told Accepted(string user, string key = "k", string sku = Phone, int quantity = 1) =>
        new(1_000, 2_000, user, key, sku, quantity, 202, "", Id(user + key), IsReplay: false, (ulong)Id(user + key).GetHashCode());

    private static Told Refused(string user, string code, int status = 409) => new(1_000, 2_000, user, "k", Phone, 1, status, code, Guid.Empty, IsReplay: false, 0);

    private static Told Unknown(string user) => Refused(user, "", 0);

    /// <summary>
    /// A sale of ten phones and five cables. Of four shoppers that bought, one paid, one cancelled, and one learnt of
    /// the order by a retry. Two more were told that it was sold out.
    /// </summary>
    public sealed class Case
    {
        public Case()
        {
            Buy("a", Phone, 1);
            Buy("b", Cable, 1);
            Buy("c", Phone, 1);
            Orders[1] = Orders[1] with { Status = "paid", IsPaid = true, Payments = 1 };
            History.Add(Accepted("a") with { IsReplay = true });
            History.Add(Unknown("d"));
            Buy("d", Phone, 1, isTold: false);
            History.Add(Accepted("d") with { IsReplay = true, StartedMicroseconds = 3_000 });
            Orders[2] = Orders[2] with { Status = "cancelled", IsClosed = true, Returns = 1 };
            Quotas.RemoveAt(2);
            Items[0] = Items[0] with { Sold = 2 };
            Remaining[Phone] = 8;
            History.Add(Refused("e", "sold_out"));
            History.Add(Refused("f", "sold_out"));
        }

        public List<ItemRow> Items { get; init; } = [new(Phone, 10, 0, 2), new(Cable, 5, 0, 3)];

        public List<OrderRow> Orders { get; init; } = [];

        public List<QuotaRow> Quotas { get; init; } = [];

        public List<Told> History { get; init; } = [];

        public Dictionary<string, long> Remaining { get; } = new(StringComparer.Ordinal) { [Phone] = 10, [Cable] = 5 };

        public Dictionary<string, long> InflightUnits { get; } = new(StringComparer.Ordinal);

        public List<InflightRow> Inflight { get; } = [];

        /// <summary>
        /// Adds a purchase to all records. The shopper gets its answer only if <paramref name="isTold"/>.
        /// </summary>
        public void Buy(string user, string sku, int quantity, bool isTold = true)
        {
            var key = Orders.Any(order => order.UserId == user) ? "another" : "k";
            Orders.Add(Order(user, key, sku, quantity));
            Quotas.Add(new QuotaRow(user, sku, quantity, 3));
            if (isTold) History.Add(Accepted(user, key, sku, quantity));
            var item = Items.FindIndex(row => row.Sku == sku);
            Items[item] = Items[item] with { Sold = Items[item].Sold + quantity };
            Remaining[sku] -= quantity;
        }

        public Judge Judge(Loss loss = Loss.None, long lossUntil = long.MaxValue) =>
            FlashSale.LoadTests.Verdicts.Judge.Of(new BooksView(Items, Orders, Quotas, SaleLimit: 3, [], Remaining, InflightUnits, Inflight, OutboxLength: 0, PendingReturns: 0), History, loss, lossUntil);
    }
}
