using FlashSale.Ledger;
using FlashSale.Worker.Keeper;

namespace FlashSale.UnitTests.Keeper;

/// <summary>
/// The append-only file of Redis is rewritten when it is large, grown and quiet, or so large that it cannot wait.
/// </summary>
public sealed class RedisLogTests
{
    private const long Least = 256_000_000;

    [Theory]
    [InlineData(200, 200, 10, false, false)]    // not large
    [InlineData(400, 400, 300, false, false)]   // large, not grown
    [InlineData(400, 400, 300, true, true)]     // much of it has left Redis
    [InlineData(200, 200, 10, true, false)]     // much of it has left Redis, but it is too small to matter
    [InlineData(600, 600, 300, false, true)]    // large, grown and quiet
    [InlineData(590, 600, 300, false, false)]   // grown, and still growing by two megabytes a second
    [InlineData(2_390, 2_400, 300, false, true)] // eight times as large as its base
    [InlineData(2_590, 2_600, 2_000, false, false)] // large because its base is
    public void A_file_is_rewritten_when(long before, long now, long atBase, bool isWanted, bool expected) =>
        Assert.Equal(expected, RedisLogJob.MustBeRewritten(At(before, atBase), At(now, atBase), Least, isWanted));

    [Fact]
    public void A_first_look_and_a_rewrite_that_runs_change_nothing()
    {
        Assert.False(RedisLogJob.MustBeRewritten(null, At(600, 300), Least, isWanted: true));
        Assert.False(RedisLogJob.MustBeRewritten(At(600, 300), At(600, 300) with { IsBeingRewritten = true }, Least, isWanted: true));
    }

    private static RedisLogState At(long megabytes, long atBase) => new(megabytes * 1_000_000, atBase * 1_000_000, IsWritten: true, IsBeingRewritten: false);
}
