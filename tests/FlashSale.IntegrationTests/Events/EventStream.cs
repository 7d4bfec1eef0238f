namespace FlashSale.IntegrationTests.Events;

/// <summary>
/// The rules for the events of a crowd: each move is published under its stable id, and the first copies come in the
/// order of the moves.
/// </summary>
public static class EventStream
{
    /// <summary>Lists the violations. The list is empty when the events are right.</summary>
    /// <param name="told">Order and message id, in the order of arrival.</param>
    /// <param name="expected">The types of the events by order, in their order.</param>
    public static IReadOnlyList<string> Judge(IEnumerable<(Guid OrderId, string? MessageId)> told, IReadOnlyDictionary<Guid, string[]> expected)
    {
        var firsts = new Dictionary<Guid, List<string?>>();
        foreach (var (orderId, messageId) in told)
        {
            if (!firsts.TryGetValue(orderId, out var ids)) firsts[orderId] = ids = [];
            if (!ids.Contains(messageId)) ids.Add(messageId);
        }
        List<string> broken = [];
        foreach (var (orderId, types) in expected)
        {
            var wanted = string.Join(", ", types.Select(type => $"{orderId}:{type}"));
            var got = string.Join(", ", firsts.GetValueOrDefault(orderId) ?? []);
            if (got != wanted) broken.Add($"wanted {wanted}; got {got}");
        }
        broken.AddRange(firsts.Keys.Where(orderId => !expected.ContainsKey(orderId)).Select(orderId => $"nobody bought {orderId}"));
        return broken;
    }
}

/// <summary>The judge reports streams that are known to be wrong.</summary>
public sealed class EventStreamTests
{
    private static readonly Guid Order = Guid.Parse("0192a000-0000-8000-8000-000000000001");
    private static readonly Dictionary<Guid, string[]> Expected = new() { [Order] = ["OrderPlaced", "OrderPaid", "OrderClosed"] };

    [Theory]
    [InlineData("OrderPlaced OrderPaid OrderClosed", 0)]
    [InlineData("OrderPlaced OrderPlaced OrderPaid OrderPlaced OrderPaid OrderClosed OrderPaid", 0)]
    [InlineData("OrderPlaced OrderClosed OrderPaid", 1)]
    [InlineData("OrderPaid OrderPlaced OrderPaid OrderClosed", 1)]
    [InlineData("OrderPlaced OrderPaid", 1)]
    [InlineData("", 1)]
    [InlineData("OrderPlaced OrderPaid OrderClosed OrderClosedAgain", 1)]
    public void A_stream_that_lacks_adds_or_swaps_an_event_is_caught(string types, int broken) =>
        Assert.Equal(broken, EventStream.Judge(types.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(type => (Order, (string?)$"{Order}:{type}")), Expected).Count);

    [Fact]
    public void An_event_of_an_order_that_nobody_knows_is_caught() =>
        Assert.Single(EventStream.Judge([(Order, $"{Order}:OrderPlaced")], new Dictionary<Guid, string[]>()));
}
