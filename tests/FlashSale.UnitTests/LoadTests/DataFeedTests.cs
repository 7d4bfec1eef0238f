using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

public sealed class DataFeedTests
{
    private static readonly string[] Items = ["a", "b", "c"];

    [Fact]
    public void A_constant_feed_gives_each_copy_its_own_item() =>
        Assert.Equal(["a", "b", "c", "a", "a"], new[] { 0, 1, 2, 3, 0 }.Select(copy => DataFeed.Constant(Items).GetNextItem(Copy(copy))));

    [Fact]
    public void A_circular_feed_gives_all_copies_together_one_after_another()
    {
        var feed = DataFeed.Circular(Items);
        Assert.Equal(["a", "b", "c", "a"], new[] { 7, 7, 1, 0 }.Select(copy => feed.GetNextItem(Copy(copy))));
    }

    [Fact]
    public void A_random_feed_gives_each_item_as_often_as_any_other()
    {
        var feed = DataFeed.Random(Items);
        Assert.All(Enumerable.Range(0, 30_000).Select(_ => feed.GetNextItem(Copy(0))).CountBy(item => item), item => Assert.InRange(item.Value, 9_000, 11_000));
    }

    [Fact]
    public void A_feed_of_nothing_is_refused() => Assert.Throws<ArgumentException>(() => DataFeed.Circular<string>([]));

    [Fact]
    public async Task Data_are_read_from_json()
    {
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(path, """[{"sku":"s1","quantity":2}]""");
            Assert.Equal(("s1", 2), Assert.Single(Data.LoadJson<Line[]>(path).Select(line => (line.Sku, line.Quantity))));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static ScenarioInfo Copy(int number) => new("some", $"some-{number}", number, TimeSpan.FromSeconds(1));

    private sealed record Line(string Sku, int Quantity);
}
