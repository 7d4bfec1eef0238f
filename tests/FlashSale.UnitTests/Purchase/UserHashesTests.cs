using FlashSale.Api.Purchase;

namespace FlashSale.UnitTests.Purchase;

public sealed class UserHashesTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void It_holds_what_was_added_and_nothing_else(int seed)
    {
        var random = new Random(seed);
        var (hashes, model) = (new UserHashes(), new HashSet<ulong>());
        for (var i = 0; i < 20_000; i++)
        {
            // Half of the hashes lie close together, so that many want the same place.
            var hash = random.Next(2) == 0 ? (ulong)random.Next(20_000) : (ulong)random.NextInt64();
            hashes.Add(hash);
            model.Add(hash);
        }
        Assert.All(model, hash => Assert.True(hashes.Contains(hash)));
        for (var i = 0; i < 20_000; i++)
        {
            var hash = random.Next(2) == 0 ? (ulong)random.Next(40_000) : (ulong)random.NextInt64();
            Assert.Equal(model.Contains(hash), hashes.Contains(hash));
        }
    }

    [Fact]
    public async Task Whoever_reads_while_it_grows_finds_all_that_was_there_before()
    {
        const int Count = 200_000;
        var hashes = new UserHashes();
        var added = 0L;
        using var go = new ManualResetEventSlim();
        var reading = Enumerable.Range(0, 4).Select(reader => Task.Run(() =>
        {
            go.Wait();
            var random = new Random(reader);
            var missed = 0;
            for (long known; (known = Interlocked.Read(ref added)) < Count;)
            {
                if (known > 0 && !hashes.Contains(HashOf(random.NextInt64(known)))) missed++;
            }
            return missed;
        })).ToArray();
        go.Set();
        for (var i = 0L; i < Count; i++)
        {
            hashes.Add(HashOf(i));
            Interlocked.Exchange(ref added, i + 1);
        }
        Assert.Equal(0, (await Task.WhenAll(reading)).Sum());
    }

    private static ulong HashOf(long number) => (ulong)(number + 1) * 0x9E37_79B9_7F4A_7C15;
}
